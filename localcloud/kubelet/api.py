"""A small client of the Kubernetes API: what a kubelet and a cloud controller need, and nothing more."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import aiohttp

Object = dict[str, Any]
"""A Kubernetes object as JSON."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

_log = logging.getLogger(__name__)
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_WATCH_SECONDS = 300
_STRATEGIC = "application/strategic-merge-patch+json"


class KubernetesError(Exception):
    """The API server answered with an error; ``status`` is HTTP's, ``message`` its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Kubernetes API answered {status}: {message}")
        self.status = status
        self.message = message


class KubernetesClient:
    """One connection pool to one API server."""

    def __init__(self, url: str, token: str, *, user_agent: str) -> None:
        self._url = url.rstrip("/")
        self._manager = user_agent
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}", "User-Agent": user_agent, "Accept": "application/json"}
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Reads an object or a list."""
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Object) -> Object:
        """Creates an object in the collection ``path``."""
        return await self._call("POST", path, body=body, query={"fieldManager": self._manager})

    async def patch(self, path: str, body: Object) -> Object:
        """Changes an object by strategic merge patch."""
        return await self._call("PATCH", path, body=body, query={"fieldManager": self._manager}, content=_STRATEGIC)

    async def delete(self, path: str, *, uid: str | None = None, grace_seconds: int | None = None) -> None:
        """Deletes an object; ``uid`` guards against one of the same name that came after it. Absence is success."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._call("DELETE", path, body=options)
        except KubernetesError as error:
            if error.status not in (404, 409):  # 409: the uid is another's, so ours is gone
                raise

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        data = None if body is None else json.dumps(body).encode()
        headers = None if body is None else {"Content-Type": content}
        async with self._session.request(
            method, self._url + path, data=data, params=query, headers=headers, timeout=_TIMEOUT
        ) as response:
            text = await response.text()
            if response.status >= 400:
                raise KubernetesError(response.status, _message(text))
            return cast(Object, json.loads(text)) if text else {}

    async def watch(self, path: str, query: Mapping[str, str], on_event: Callable[[str, Object], None]) -> None:
        """Reads a watch to its end, giving each event to ``on_event``."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SECONDS + 30)
        asked = {**query, "watch": "true", "timeoutSeconds": str(_WATCH_SECONDS)}
        async with self._session.get(self._url + path, params=asked, timeout=timeout) as response:
            if response.status >= 400:
                raise KubernetesError(response.status, _message(await response.text()))
            buffer = b""
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    if line.strip():
                        event = json.loads(line)
                        on_event(event["type"], event["object"])


def _message(text: str) -> str:
    try:
        status = json.loads(text)
    except ValueError:
        return text.strip()
    return str(status.get("message", text)) if isinstance(status, dict) else text


class Informer:
    """Follows a collection: lists it, watches it, and lists again where the watch cannot go on.

    ``on_event`` hears of every object that is there, of each change, and of each that went while nobody was looking.
    """

    def __init__(
        self,
        client: KubernetesClient,
        path: str,
        on_event: Callable[[EventType, Object], None],
        *,
        field_selector: str | None = None,
        retry_seconds: float = 0.3,
    ) -> None:
        self._client = client
        self._path = path
        self._on_event = on_event
        self._query = {} if field_selector is None else {"fieldSelector": field_selector}
        self._retry_seconds = retry_seconds
        self._version = ""
        self.objects: dict[str, Object] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follows until cancelled."""
        while True:
            try:
                await self._list()
                self.synced.set()
                while True:
                    query = {**self._query, "resourceVersion": self._version, "allowWatchBookmarks": "true"}
                    await self._client.watch(self._path, query, self._watched)
            except _ExpiredError:
                continue
            except (aiohttp.ClientError, TimeoutError, KubernetesError, ConnectionError) as error:
                _log.debug("following %s: %s; again in %s s", self._path, error, self._retry_seconds)
                await asyncio.sleep(self._retry_seconds)

    async def _list(self) -> None:
        answer = await self._client.get(self._path, self._query)
        found = {item["metadata"]["uid"]: item for item in answer["items"]}
        for uid in self.objects.keys() - found.keys():
            self._tell("DELETED", self.objects[uid])
        for uid, item in found.items():
            self._tell("MODIFIED" if uid in self.objects else "ADDED", item)
        self._version = answer["metadata"]["resourceVersion"]

    def _watched(self, kind: str, item: Object) -> None:
        if kind == "ERROR":
            raise _ExpiredError(str(item.get("message")))
        self._version = item["metadata"]["resourceVersion"]
        if kind != "BOOKMARK":
            self._tell(cast(EventType, kind), item)

    def _tell(self, kind: EventType, item: Object) -> None:
        uid = item["metadata"]["uid"]
        if kind == "DELETED":
            self.objects.pop(uid, None)
        else:
            self.objects[uid] = item
        self._on_event(kind, item)


class _ExpiredError(Exception):
    """The watch's resourceVersion is too old; list again."""
