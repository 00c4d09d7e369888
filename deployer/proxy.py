"""Use case: a classification request, from the route to named classes. Async; one pooled client for the process.

    route (cached a few seconds) → [asleep? wake, hold or say when] → TensorFlow Serving → named classes

A request that never reached a server is sent again along the route as it is by then; so a version that gives its place to
the next costs its callers time, not answers.
"""

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from deployer.activity import ActivityNotes
from deployer.errors import BadRequest, NotFound, SlipwayError, Unavailable
from deployer.images import predictions, request_body
from deployer.record import ModelRecord, Route
from deployer.settings import ProxySettings
from deployer.state import State
from deployer.waking import Waker

_LOOK = 0.5  # seconds between two looks at the record of a model that is on its way
_UNDECODABLE = ("decode_image", "Unknown image file format", "Invalid PNG", "Invalid JPEG", "jpeg", "DecodeImage")
_PLACE = re.compile(r"undecodable_image_(\d+)(_or_later)?")  # as the exporter names the decoding of each place


@dataclass(frozen=True)
class Answer:
    """Named classes, best first, for each image; and the version that said so."""

    model: str
    version: int
    predictions: list[list[dict[str, Any]]]


@dataclass(frozen=True)
class _Known:
    record: ModelRecord
    at: float


class Proxy:
    """Classifies by asking the version that serves. For one event loop."""

    def __init__(
        self, state: State, waker: Waker, notes: ActivityNotes, settings: ProxySettings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._state = state
        self._waker = waker
        self._notes = notes
        self._settings = settings
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._session: aiohttp.ClientSession | None = None

    async def classify(self, model: str, images: list[bytes], *, top: int | None, hold_seconds: float) -> Answer:
        """Classifies images by the version that serves.

        Args:
            model: the model's NAME.
            images: encoded images; all go in one request.
            top: how many classes at most for each; None: as many as the servable gives.
            hold_seconds: how long to wait for a model that wakes, at most the setting's bound.

        Raises:
            NotFound: no such model.
            Waking: it sleeps, or its first version is on the way.
            BadRequest: the servable could not decode an image, or has no ``classify_image``.
            Unavailable: no server answered, or not in time.
        """
        deadline = self._monotonic() + min(hold_seconds, self._settings.hold_seconds)
        record, route = await self._ready(model, deadline)
        self._notes.note(model)
        body = request_body(images)
        give_up = max(deadline, self._monotonic() + self._settings.timeout_seconds)
        lost: Route | None = None
        while True:
            _must_classify(record, route)
            try:
                content = await self._ask(model, route, body)
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                # The server has gone, or went away in the middle; classifying twice does no harm.
                self._known.pop(model, None)
                record, again = await self._ready(model, deadline)
                if again == route == lost and (record.rollout is None or self._monotonic() > give_up):
                    raise _lost(model, route, error) from error
                if again == route == lost:  # a rollout is replacing the server: the request waits for what comes
                    await asyncio.sleep(_LOOK)
                lost, route = route, again
                continue
            return Answer(model, route.version, _classes(model, route, content, top))

    async def close(self) -> None:
        """Closes the pooled connections."""
        if self._session is not None:
            await self._session.close()

    async def _ready(self, model: str, deadline: float) -> tuple[ModelRecord, Route]:
        """The record and route of a model that serves; wakes it, and waits for it until the deadline."""
        record = await self._record(model, self._settings.route_cache_seconds)
        while record.route is None:
            if record.asleep:
                self._notes.note(model)
                record = await asyncio.to_thread(self._waker.wake, model, by="request")
            elif record.settled and not record.arriving:
                raise _never_served(record)
            if self._monotonic() >= deadline:
                raise await asyncio.to_thread(self._waker.estimate, record)
            await asyncio.sleep(_LOOK)
            record = await self._record(model, 0.0)
        return record, record.route

    async def _record(self, model: str, age: float) -> ModelRecord:
        known = self._known.get(model)
        if known is not None and self._monotonic() - known.at < age:
            return known.record
        record = await asyncio.to_thread(self._state.model, model)
        self._known[model] = _Known(record, self._monotonic())
        return record

    async def _ask(self, model: str, route: Route, body: bytes) -> bytes:
        url = f"{route.address}/v1/models/{model}/versions/{route.version}:predict"
        try:
            async with self._client().post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                content = await answer.read()
        except aiohttp.ConnectionTimeoutError:
            raise
        except TimeoutError as error:
            raise Unavailable(
                "timeout", f"'{model}' v{route.version} did not answer within {self._settings.timeout_seconds:g} s.",
                "Send fewer images at once, or raise SLIPWAY_PROXY__TIMEOUT_SECONDS.", status=HTTPStatus.GATEWAY_TIMEOUT,
            ) from error  # fmt: skip
        if answer.status == HTTPStatus.OK:
            return content
        raise _server_error(model, route, answer.status, content)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(
                    total=self._settings.timeout_seconds, sock_connect=self._settings.connect_seconds
                ),
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            )
        return self._session


def _must_classify(record: ModelRecord, route: Route) -> None:
    signatures = record.version(route.version).signatures
    if "classify_image" not in signatures:
        raise BadRequest(
            "no_classifier", f"'{record.name}' v{route.version} has no signature 'classify_image', only {', '.join(signatures)}.",
            f"Drop it with its class names beside it as '{record.name}.labels.txt', one a line.", status=HTTPStatus.CONFLICT,
        )  # fmt: skip


def _lost(model: str, route: Route, error: Exception) -> Unavailable:
    return Unavailable(
        "model_server", f"'{model}' v{route.version} does not answer at {route.address}: {error}",
        "Try again in a moment; GET /api/models/NAME shows what goes on.",
    )  # fmt: skip


def _never_served(record: ModelRecord) -> SlipwayError:
    upload = record.upload
    why = f": {upload.reason}" if upload is not None and upload.reason else ""
    return NotFound(
        "no_version", f"'{record.name}' has no version that serves{why}",
        upload.hint if upload is not None and upload.hint else "GET /api/models/NAME shows what became of its uploads.",
    )  # fmt: skip


def _classes(model: str, route: Route, content: bytes, top: int | None) -> list[list[dict[str, Any]]]:
    try:
        try:
            outputs = orjson.loads(content)["outputs"]
        except orjson.JSONDecodeError:
            outputs = json.loads(content)["outputs"]  # TensorFlow Serving writes NaN and Infinity as they are
        return predictions(outputs, top)
    except (ValueError, LookupError, TypeError) as error:
        raise SlipwayError(
            "model_server_error", f"'{model}' v{route.version} answered with what is no classification ({error!r}).",
            "Something else answers at its address, or its servable was changed.", status=HTTPStatus.BAD_GATEWAY,
        ) from error  # fmt: skip


def _server_error(model: str, route: Route, status: int, content: bytes) -> SlipwayError:
    try:
        message = str(orjson.loads(content)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = content[:200].decode(errors="replace")
    if status == HTTPStatus.BAD_REQUEST and any(word in message for word in _UNDECODABLE):
        place = _PLACE.search(message)
        which = f"images[{place[1]}]{' or one after it' if place[2] else ''}" if place else "An image"
        return BadRequest(
            "bad_image", f"{which} could not be decoded: {message}", "Send a whole JPEG, PNG, GIF or BMP file."
        )
    return SlipwayError(
        "model_server_error", f"'{model}' v{route.version} answered {status}: {message}",
        "This is TensorFlow Serving's own message.", status=HTTPStatus.BAD_GATEWAY,
    )  # fmt: skip
