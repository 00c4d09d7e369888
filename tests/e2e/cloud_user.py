"""What a user has: the storage SDK, HTTP with a key, and a Kubernetes client. Nothing of ours."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient, ContainerClient
from kubernetes import client as kubernetes_client

from localcloud.endpoints import Endpoints

DEADLINE_SECONDS = 90


@dataclass(frozen=True)
class Answer:
    """Status, parsed JSON (None for no body) and headers."""

    status: int
    body: Any
    headers: Message


class Client:
    """One user of one local cloud."""

    def __init__(self, endpoints: Endpoints, data: Path) -> None:
        self._endpoints = endpoints
        self._data = data
        configuration = kubernetes_client.Configuration(host=endpoints.kubernetes_url)
        configuration.api_key = {"BearerToken": f"Bearer {endpoints.kubernetes_token}"}
        api = kubernetes_client.ApiClient(configuration)
        self.core = kubernetes_client.CoreV1Api(api)
        self.apps = kubernetes_client.AppsV1Api(api)

    @property
    def kubernetes_url(self) -> str:
        return str(self._endpoints.kubernetes_url)

    @property
    def kubernetes_token(self) -> str:
        return str(self._endpoints.kubernetes_token)

    @property
    def functions(self) -> tuple[str, str]:
        """The app's address and its function key, for a client of another kind."""
        return str(self._endpoints.functions_url), str(self._endpoints.function_key)

    @property
    def storage(self) -> BlobServiceClient:
        return BlobServiceClient.from_connection_string(self._endpoints.storage_connection_string)

    def container(self, name: str) -> ContainerClient:
        return self.storage.get_container_client(name)

    def drop(self, name: str, content: bytes) -> None:
        """Uploads a blob into ``models``, as a user with the storage SDK does."""
        self.container("models").upload_blob(name, content, overwrite=True)

    def tags(self, blob: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.container("models").get_blob_client(blob).get_blob_tags()
        return found

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        key: str | None = "",
        **headers: str,
    ) -> Answer:
        """An HTTP request; ``key`` None sends none, "" the function key."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            given["x-functions-key"] = key or str(self._endpoints.function_key)
        url = f"{self._endpoints.functions_url}{path}"
        request = urllib.request.Request(url, data=body, headers=given, method=method)  # noqa: S310  (our own address)
        return await asyncio.to_thread(_sent, request)

    async def classify(self, model: str, image: bytes, **headers: str) -> Answer:
        return await self.ask("POST", f"/api/classify/{model}?top=3", image, Content_Type="image/png", **headers)

    async def model(self, name: str) -> dict[str, Any]:
        answer = await self.ask("GET", f"/api/models/{name}")
        return answer.body if answer.status == 200 else {"state": None, "version": None, "upload": None, "reason": None}

    async def cluster(self) -> dict[str, Any]:
        answer = await self.ask("GET", "/api/cluster")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.body
        return found

    async def until(
        self, look: Callable[[], Awaitable[dict[str, Any]]], true: Callable[[dict[str, Any]], bool], what: str
    ) -> dict[str, Any]:
        """Looks until it is true; fails with what was seen last, and the end of the app's log."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        while not true(seen := await look()):
            if asyncio.get_running_loop().time() > deadline:
                log = (self._data / "logs" / "functions.log").read_text()[-6000:]
                raise AssertionError(f"waited in vain for {what}; seen last: {json.dumps(seen, indent=1)}\n{log}")
            await asyncio.sleep(0.3)
        return seen

    async def serves(self, name: str, version: int) -> dict[str, Any]:
        """Waits until the model serves this version and its rollout has settled."""
        return await self.until(
            lambda: self.model(name), lambda seen: seen["state"] == "serving" and seen["version"] == version,
            f"{name} v{version} serving",
        )  # fmt: skip

    async def tagged(self, blob: str, state: str) -> dict[str, str]:
        """Waits until the blob's tags say so: they are written right after the record that the API shows."""

        async def look() -> dict[str, str]:
            return dict(self.tags(blob))

        return await self.until(look, lambda tags: tags.get("slipway_state") == state, f"{blob} tagged {state}")

    async def failed(self, name: str) -> dict[str, Any]:
        """Waits until the model's newest upload has failed."""
        return await self.until(lambda: self.model(name), lambda seen: seen["state"] == "failed", f"{name} failed")


StartCloud = Callable[..., Awaitable[Client]]


def _sent(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:  # noqa: S310
            return Answer(answer.status, _parsed(answer.read()), answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _parsed(error.read()), error.headers)


def _parsed(body: bytes) -> Any:
    return json.loads(body) if body else None
