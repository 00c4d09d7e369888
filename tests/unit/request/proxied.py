"""The proxy with a state in memory, and a real HTTP server in the place of TensorFlow Serving."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import web

from deployer.activity import ActivityNotes
from deployer.figures import FigureNotes
from deployer.record import Canary, ModelRecord, RolloutStatus, Route, VersionRecord
from deployer.request import Answer, ClassifyRequest, Proxy, Relayed, serving_call
from deployer.request.parse import Wanted
from deployer.settings import IdleSettings, ProxySettings
from deployer.state import State
from deployer.waking import Waker
from tests.fakes import FakeDocuments, FakeQueue, World

IMAGE = b"\x89PNG\r\n\x1a\n image"
SIGNATURES: dict[str, Any] = {"classify_image": {}, "serving_default": {}}
SETTINGS = ProxySettings(
    timeout_seconds=5, connect_seconds=1, hold_seconds=20, route_cache_seconds=0, recovery_seconds=0
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def until(look: Callable[[], bool]) -> None:
    """Waits until something is so, within a bound."""
    for _ in range(1000):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


async def answering(request: web.Request) -> web.StreamResponse:
    """Two classes for each image."""
    document = await request.json()
    count = len(document["inputs"]["image_bytes"])
    return web.json_response({"outputs": {"labels": [["lynx", "cat"]] * count, "scores": [[0.9, 0.1]] * count}})


@dataclass
class ModelServer:
    """A listening server; ``asked`` are the requests it got."""

    handler: Handler
    asked: list[tuple[str, Any]] = field(default_factory=list)
    address: str = ""
    port: int = 0
    there: bool = True
    looks: int = 0

    async def __aenter__(self) -> "ModelServer":
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":  # whether it is there
            self.looks += 1
            return web.json_response({}, status=200 if self.there else 404)
        self.asked.append((request.path, await request.json()))
        return await self.handler(request)


class Slipway:
    """The proxy with a state in memory."""

    def __init__(self, settings: ProxySettings = SETTINGS, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.world = World()
        self.documents = FakeDocuments(self.world)
        self.state = State(self.documents, self.world.clock)
        self.queue = FakeQueue(self.world)
        loop = asyncio.get_running_loop()
        notes = ActivityNotes(self.documents, 3600, loop.time)
        waker = Waker(self.state, self.queue, IdleSettings().wake_seconds, timedelta(0), self.world.clock)
        self.figures = FigureNotes(self.documents, 0, self.world.clock, loop.time)
        self.proxy = Proxy(self.state, waker, notes, self.figures, settings, monotonic)

    def serve(
        self, address: str | None, *, number: int = 1, signatures: dict[str, Any] | None = None, **more: Any
    ) -> None:
        """Makes a version the one that serves, or, without an address, leaves the model without a route."""
        version = VersionRecord(
            version=number, identity=str(number), state="serving", created=self.world.now,
            signatures=SIGNATURES if signatures is None else signatures,
        )  # fmt: skip
        route = Route(version=number, address=address) if address else None

        def change(record: ModelRecord) -> ModelRecord:
            return record.with_version(version).but(desired=number, route=route, **more)

        self.state.change("cats", change)

    def try_canary(self, number: int, address: str, share: float) -> None:
        """Puts a proven version beside the one that serves."""
        version = VersionRecord(
            version=number, identity=str(number), state="published", created=self.world.now, signatures=SIGNATURES
        )
        canary = Canary(version=number, address=address, share=share)

        def change(record: ModelRecord) -> ModelRecord:
            assert record.route is not None
            return record.with_version(version).but(route=record.route.but(canary=canary))

        self.state.change("cats", change)

    def rolling(self, number: int) -> RolloutStatus:
        """A rollout under way."""
        now = self.world.now
        return RolloutStatus(
            version=number, started=now, step="AwaitPods", since=now, looked=now, message="v2 is starting"
        )

    async def ask(
        self, images: int = 1, *, top: int | None = None, min_score: float | None = None, hold: float = 0.0,
        version: int | None = None, session: str | None = None, url: str | None = None,
    ) -> Answer:  # fmt: skip
        """A client's request."""
        wanted = Wanted(version, hold, session)
        request = ClassifyRequest((IMAGE,) * images if url is None else (), url, top, min_score, wanted)
        return await self.proxy.classify("cats", request)

    async def relay(self, method: str, path: str, body: bytes = b"", **headers: str) -> Relayed:
        """A request of TensorFlow Serving's API."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.proxy.relay(serving_call(method, path, named, body))
