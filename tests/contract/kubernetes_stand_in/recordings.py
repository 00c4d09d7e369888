"""Replays recorded exchanges against an API server.

A recording names objects by random suffixes, uids and resourceVersions of the server that it was made on: those are
translated on the way out, as the answers show what they are called here. ``comparison`` compares what comes back.

A GET that the recorder repeated until the controllers had come so far shows a state that they pass through, perhaps faster
here than a client can ask. It is equal when the object is in that state, or was after the step that last showed it: the
server's own history, read by a watch, says so.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.contract.kubernetes_stand_in.comparison import compare, compare_events, normal

MERGE = "application/merge-patch+json"
_SETTLE_SECONDS = 20.0
_POLL_SECONDS = 0.03
_LONGEST_WATCH_SECONDS = 6  # recorded watches of nine seconds end after this time
_LAST_EVENTS_SECONDS = 2.0

_SIDE_WRITES: Mapping[str, Mapping[int, tuple[tuple[str, Any], ...]]] = {
    # What the recorder wrote beside the steps: the watches tell of it. Written before the step, or during the watch.
    "13-list-watch": {64: tuple(("/api/v1/namespaces/g13/configmaps/m4", {"data": {"k": f"x{n}"}}) for n in range(3))},
    "20-python-client": {
        step: (("/apis/apps/v1/namespaces/g20/deployments/tfs", {"metadata": {"labels": {"w": mark}}}),)
        for step, mark in ((33, "1"), (35, "2"), (37, "3"))
    },
}
_OF_THE_FORK = {  # the recorded server's controllers put this into every namespace
    "apiVersion": "v1", "kind": "ConfigMap", "data": {"service-ca.crt": ""},
    "metadata": {
        "name": "openshift-service-ca.crt", "annotations": {"service.beta.openshift.io/inject-cabundle": "true"},
    },
}  # fmt: skip


@dataclass
class Outcome:
    """How the steps of one recording compared."""

    name: str
    equal: int = 0
    differing: list[tuple[int, str, str]] = field(default_factory=list)
    """Index, request and difference of each step that is not equal."""
    not_asked: int = 0
    """Steps of a client that asks about each group that ``/apis`` lists, and here has fewer to ask about."""

    @property
    def total(self) -> int:
        """Steps compared."""
        return self.equal + len(self.differing)

    @property
    def share(self) -> float:
        """Equal steps among those compared."""
        return self.equal / self.total if self.total else 0.0


@dataclass(frozen=True)
class ApiServer:
    """Where to replay: the address, the token of each user of the recordings, and what to trust."""

    url: str
    tokens: Mapping[str, str]
    trust: ssl.SSLContext | bool = True


def load(path: Path) -> dict[str, Any]:
    """Reads a recording."""
    recording: dict[str, Any] = json.loads(path.read_text())
    return recording


@dataclass
class _Watch:
    """A watch that is open: what it has told so far."""

    task: asyncio.Task[None] | None = None
    status: int = 0
    body: Any = None
    events: list[dict[str, Any]] = field(default_factory=list)


class Replay:
    """One replay of one recording."""

    def __init__(self, server: ApiServer, recording: dict[str, Any], hasty: frozenset[int] = frozenset()) -> None:
        """``hasty`` are steps that are known to differ: they are not waited for."""
        self._server = server
        self._name: str = recording["scenario"]
        self._steps: list[dict[str, Any]] = recording["steps"]
        self._agent = recording.get("user_agent", "golden-recorder/1.0")
        self._hasty = hasty
        self._names: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        self._served: set[str] = set()
        self._shown: dict[str, dict[str, Any]] = {}
        self._watches: dict[int, _Watch] = {}
        self._start = ""

    async def run(self) -> Outcome:
        """Replays every step in order."""
        outcome = Outcome(self._name)
        async with aiohttp.ClientSession(
            headers={"User-Agent": self._agent}, timeout=aiohttp.ClientTimeout(total=120),
            connector=aiohttp.TCPConnector(ssl=self._server.trust, limit=0),
        ) as http:  # fmt: skip
            try:
                await self._prepare(http)
                late = []
                for index, step in enumerate(self._steps):
                    await self._before(http, index)
                    if "watch" in step:
                        if not await self._is_told(index):
                            late.append(index)
                            continue
                        self._count(outcome, index, self._compare_watch(index))
                    elif self._is_not_asked(step["request"]["path"]):
                        outcome.not_asked += 1
                    else:
                        self._count(outcome, index, await self._step(http, index, step))
                for index in late:
                    await self._is_told(index)
                    self._count(outcome, index, self._compare_watch(index))
            finally:
                tasks = [watch.task for watch in self._watches.values() if watch.task]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        outcome.differing.sort()
        return outcome

    def _count(self, outcome: Outcome, index: int, difference: str | None) -> None:
        if difference is None:
            outcome.equal += 1
            return
        step = self._steps[index]
        asked = f"{step['request']['method']} {step['request']['path']} ({step.get('note') or ''})"
        outcome.differing.append((index, asked, difference))

    async def _prepare(self, http: aiohttp.ClientSession) -> None:
        """Learns what is served, and creates the namespace of a recording that does not begin with that itself."""
        _, groups = await self._send(http, {"method": "GET", "path": "/apis"}, "admin")
        self._served = {version["groupVersion"] for group in groups["groups"] for version in group["versions"]}
        namespace = f"g{self._name[:2]}"
        if not any(namespace in json.dumps(step["request"].get("body")) for step in self._steps[:4]):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await self._send(http, {"method": "POST", "path": "/api/v1/namespaces", "body": body}, "admin")
            await self._fill(http, namespace)
        _, namespaces = await self._send(http, {"method": "GET", "path": "/api/v1/namespaces"}, "admin")
        self._start = namespaces["metadata"]["resourceVersion"]

    def _is_not_asked(self, path: str) -> bool:
        parts = path.strip("/").split("/")
        return parts[0] == "apis" and len(parts) == 3 and "/".join(parts[1:]) not in self._served and "v9" not in parts

    async def _before(self, http: aiohttp.ClientSession, index: int) -> None:
        """Opens the watches that were open when a step was made, and writes what was written beside the steps."""
        for number, step in enumerate(self._steps):
            if "watch" in step and step["watch"].get("opened_before_step", number) == index:
                await self._open(http, number, step)
        for path, change in _SIDE_WRITES.get(self._name, {}).get(index, ()):
            request = {"method": "PATCH", "path": path, "body": change, "content_type": MERGE}
            await self._send(http, request, "admin")

    async def _open(self, http: aiohttp.ClientSession, index: int, step: dict[str, Any]) -> None:
        watch = self._watches[index] = _Watch()
        opened = asyncio.Event()
        watch.task = asyncio.create_task(self._read(http, step, watch, opened))
        await asyncio.wait_for(opened.wait(), 30)

    async def _read(
        self, http: aiohttp.ClientSession, step: dict[str, Any], watch: _Watch, opened: asyncio.Event
    ) -> None:
        query = dict(step["request"].get("query") or {})
        if step["watch"]["ended_by"] == "server" and "timeoutSeconds" in query:
            query["timeoutSeconds"] = str(min(int(query["timeoutSeconds"]), _LONGEST_WATCH_SECONDS))
        try:
            async with self._asked(http, {**step["request"], "query": query}, step.get("as", "admin")) as answer:
                watch.status = answer.status
                if answer.status != 200 or step["response"].get("body") is not None:
                    watch.body = _parsed(answer, await answer.text())
                    return
                opened.set()
                async for line in answer.content:
                    watch.events.append(json.loads(line))
        finally:
            opened.set()

    async def _is_told(self, index: int) -> bool:
        """Waits for the end of a watch, or for as many events as were recorded; tells whether that came."""
        step, watch = self._steps[index], self._watches[index]
        assert watch.task is not None
        if step["watch"]["ended_by"] == "server":
            await asyncio.wait_for(asyncio.shield(watch.task), 30)
            return True
        wanted = len(step["response"].get("events") or [])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                while len(watch.events) < wanted and not watch.task.done():  # noqa: ASYNC110  (another server's doing)
                    await asyncio.sleep(_POLL_SECONDS)
        return len(watch.events) >= wanted

    def _compare_watch(self, index: int) -> str | None:
        watch, step = self._watches[index], self._steps[index]
        recorded, events = step["response"], watch.events
        if step["watch"]["ended_by"] == "client":  # it left when it had seen enough
            events = events[: len(recorded.get("events") or [])]
        return compare_events(recorded, watch.status, watch.body, events)

    async def _step(self, http: aiohttp.ClientSession, index: int, step: dict[str, Any]) -> str | None:
        """Answers None where the step is equal, what differs otherwise. A GET is repeated until it settles."""
        loop = asyncio.get_running_loop()
        request, path = step["request"], step["request"]["path"]
        reading = request["method"] == "GET"
        end = loop.time() + (_patience(step) if index not in self._hasty and reading else 0)
        while True:
            status, body = await self._send(http, request, step.get("as", "admin"))
            found = compare(step["response"], status, body, write=not reading)
            if found is not None and reading and _is_object(body):
                body, found = await self._as_it_was(http, step, body, found)
            if found is None or loop.time() >= end:
                break
            await asyncio.sleep(_POLL_SECONDS)
        self._learn(step["response"].get("body"), body)
        if _is_object(body):
            self._shown[path] = body
        if request["method"] == "POST" and path == "/api/v1/namespaces" and status == 201:
            await self._fill(http, body["metadata"]["name"])
        return found

    async def _as_it_was(
        self, http: aiohttp.ClientSession, step: dict[str, Any], body: dict[str, Any], found: str
    ) -> tuple[dict[str, Any], str | None]:
        """Returns an object in the recorded state, if it was in it since a step last showed it; else what is given."""
        collection, _, name = step["request"]["path"].rpartition("/")
        if body["metadata"]["name"] != self._translate(name):  # a subresource
            return body, found
        shown = self._shown.get(step["request"]["path"])
        if shown is not None and compare(step["response"], 200, shown, write=False) is None:
            return shown, None
        query = {
            "watch": "true", "timeoutSeconds": "1", "fieldSelector": f"metadata.name={name}",
            "resourceVersion": shown["metadata"]["resourceVersion"] if shown else self._start,
        }  # fmt: skip
        async with self._asked(http, {"method": "GET", "path": collection, "query": query}, "admin") as answer:
            async for line in answer.content:
                state = json.loads(line)["object"]
                if compare(step["response"], 200, state, write=False) is None:
                    return state, None
        return body, found

    async def _fill(self, http: aiohttp.ClientSession, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        await self._send(http, {"method": "POST", "path": path, "body": _OF_THE_FORK}, "admin")

    async def _send(self, http: aiohttp.ClientSession, request: dict[str, Any], user: str) -> tuple[int, Any]:
        async with self._asked(http, request, user) as answer:
            return answer.status, _parsed(answer, await answer.text())

    def _asked(
        self, http: aiohttp.ClientSession, request: dict[str, Any], user: str
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {"Accept": "application/json", **(request.get("headers") or {})}
        headers.pop("User-Agent", None)
        token = self._server.tokens.get(user)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body, data = request.get("body"), None
        if isinstance(body, dict) and request["method"] == "PUT":  # the time is another server's
            metadata = {k: v for k, v in body["metadata"].items() if k != "creationTimestamp"}
            body = {**body, "metadata": metadata}
        if body is not None:
            data = self._translate(body if isinstance(body, str) else json.dumps(body)).encode()
            headers["Content-Type"] = request.get("content_type") or "application/json"
        query = {key: self._translate(value) for key, value in (request.get("query") or {}).items()}
        if "resourceVersion" in query:
            query["resourceVersion"] = self._versions.get(query["resourceVersion"], query["resourceVersion"])
        url = self._server.url + self._translate(request["path"])
        return http.request(request["method"], url, params=query, data=data, headers=headers)

    def _translate(self, text: str) -> str:
        for theirs in sorted(self._names, key=len, reverse=True):
            text = text.replace(theirs, self._names[theirs])
        return text

    def _learn(self, theirs: Any, ours: Any) -> None:
        for there, here in _pairs(theirs, ours):
            for key in ("name", "uid"):
                known = there.get(key)
                if known and known != here.get(key) and here.get(key):
                    self._names[known] = here[key]
            address = (theirs.get("spec") or {}).get("clusterIP"), (ours.get("spec") or {}).get("clusterIP")
            if address[0] and address[1]:
                self._names[address[0]] = address[1]
            version = there.get("resourceVersion"), here.get("resourceVersion")
            if version[0] and version[1]:
                self._versions[version[0]] = version[1]
                self._names[f'"resourceVersion": "{version[0]}"'] = f'"resourceVersion": "{version[1]}"'
                if "continue" in there and "continue" in here:
                    self._names[there["continue"]] = here["continue"]


def _parsed(answer: aiohttp.ClientResponse, text: str) -> Any:
    if "json" in answer.headers.get("Content-Type", ""):
        return json.loads(text) if text else None
    return text or None


def _is_object(body: Any) -> bool:
    return isinstance(body, dict) and bool((body.get("metadata") or {}).get("uid")) and "items" not in body


def _patience(step: dict[str, Any]) -> float:
    return 30.0 if "Deadline" in (step.get("note") or "") else _SETTLE_SECONDS


def _pairs(theirs: Any, ours: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return
    yield theirs.get("metadata") or {}, ours.get("metadata") or {}
    left = list(ours.get("items") or [])
    for there in theirs.get("items") or []:
        match = next((here for here in left if normal(here) == normal(there)), None)
        if match is not None:
            left.remove(match)
            yield there["metadata"], match["metadata"]
