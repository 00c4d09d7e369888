"""Plain HTTP against the function app and the Kubernetes API, as any client would."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from demo.errors import DemoError

Document = dict[str, Any]
Seen = TypeVar("Seen")

_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Answer:
    """One answer to a classification request; ``seconds`` is what the caller waited."""

    status: int
    body: Document
    retry_after: str | None
    seconds: float

    @property
    def version(self) -> int | None:
        """The version that answered."""
        return self.body.get("version")

    @property
    def classes(self) -> list[tuple[str, float]]:
        """Names and scores, best first; empty where there was no answer."""
        found = self.body.get("predictions") or [[]]
        return [(item["label"], item["score"]) for item in found[0]]

    @property
    def best(self) -> str:
        """The name of the best class, or what the error says."""
        return self.classes[0][0] if self.classes else str(self.body.get("error", {}).get("message", self.status))


class Client:
    """The addresses and keys of one running Slipway, and the calls the demo makes."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str) -> None:
        self._session = session
        self.url = url
        self._headers = {"x-functions-key": key}

    async def model(self, name: str) -> Document | None:
        """What Slipway says of a model; None where it knows none of that name."""
        async with self._session.get(f"{self.url}/api/models/{name}", headers=self._headers) as answer:
            if answer.status == 404:
                return None
            return await _document(answer)

    async def cluster(self) -> Document:
        """What Slipway says of the cluster."""
        async with self._session.get(f"{self.url}/api/cluster", headers=self._headers) as answer:
            return await _document(answer)

    async def classify(self, name: str, image: bytes, *, wait_seconds: int = 0) -> Answer:
        """Sends one PNG; any status is an answer."""
        headers = self._headers | {"Content-Type": "image/png"}
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        began = time.perf_counter()
        async with self._session.post(f"{self.url}/api/classify/{name}?top=3", data=image, headers=headers) as answer:
            body = await answer.json(content_type=None)
            return Answer(answer.status, body, answer.headers.get("Retry-After"), time.perf_counter() - began)


class Kubernetes:
    """The cluster's own API, to see for oneself what Slipway says of it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def gpu_nodes(self) -> int:
        """Nodes that offer a GPU."""
        nodes = await self._list("/api/v1/nodes")
        return sum("nvidia.com/gpu" in node["status"].get("capacity", {}) for node in nodes)

    async def pods(self) -> list[str]:
        """The names of the model servers' pods."""
        return [pod["metadata"]["name"] for pod in await self._list("/api/v1/namespaces/slipway/pods")]

    async def replicas(self) -> dict[str, int]:
        """How many pods each deployment is to have."""
        found = await self._list("/apis/apps/v1/namespaces/slipway/deployments")
        return {item["metadata"]["name"]: item["spec"]["replicas"] for item in found}

    async def _list(self, path: str) -> list[Document]:
        async with self._session.get(self.url + path, headers=self._headers) as answer:
            items: list[Document] = (await _document(answer))["items"]
            return items


async def until(what: str, look: Callable[[], Awaitable[Seen | None]], *, seconds: float) -> Seen:
    """Looks again and again until there is something to see.

    Raises:
        DemoError: it did not come within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (seen := await look()) is not None:
            return seen
        await asyncio.sleep(_LOOK_SECONDS)
    raise DemoError(f"Waited {seconds:.0f} s for {what}, in vain.")


async def until_so(what: str, look: Callable[[], Awaitable[bool]], *, seconds: float) -> None:
    """Looks again and again until it is so.

    Raises:
        DemoError: it did not come within ``seconds``.
    """

    async def so() -> bool | None:
        return await look() or None

    await until(what, so, seconds=seconds)


async def _document(answer: aiohttp.ClientResponse) -> Document:
    body: Any = await answer.json(content_type=None)
    if answer.status != 200:
        raise DemoError(f"{answer.method} {answer.url.path} was answered with {answer.status}: {body}")
    if not isinstance(body, Mapping):
        raise DemoError(f"{answer.method} {answer.url.path} was answered with no JSON object: {body}")
    return dict(body)
