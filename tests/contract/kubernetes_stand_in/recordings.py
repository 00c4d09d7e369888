"""Replays recorded exchanges against an API server and compares what it answers.

A recording names objects by random suffixes, uids and resourceVersions of the server it was made on; those are translated
on the way out, and left out of the comparison on the way back, as are times, managedFields and addresses that are drawn.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

_VOLATILE_KEYS = frozenset(
    {
        "managedFields", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "lastTransitionTime",
        "lastUpdateTime", "lastHeartbeatTime", "lastPhaseTransitionTime", "startTime", "startedAt", "clusterIP",
        "clusterIPs", "nodePort", "time", "serverAddressByClientCIDRs", "continue", "gitCommit", "goVersion", "compiler",
        "endpoints.kubernetes.io/last-change-trigger-time", "controller-uid", "pod-template-hash",
        "batch.kubernetes.io/controller-uid",
    }
)  # fmt: skip
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_GENERATED = re.compile(
    r"\b(tfs|un|pend)-[a-z0-9]{8,10}(-[a-z0-9]{5})?\b|\b(gen|tfs)-[a-z0-9]{5}\b|kube-api-access-[a-z0-9]{5}"
)
_ADDRESS = re.compile(r"\b10\.0\.\d+\.\d+\b")
_NUMBERS = re.compile(r"(resource version: |current: )\d+")
_SETTLE_SECONDS = 5.0
_POLL_SECONDS = 0.03


@dataclass
class Outcome:
    """How the steps of one recording compared."""

    name: str
    equal: int = 0
    differing: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Steps compared."""
        return self.equal + len(self.differing)


def load(path: Path) -> dict[str, Any]:
    """Reads a recording."""
    recording: dict[str, Any] = json.loads(path.read_text())
    return recording


def normal(value: Any) -> Any:
    """Returns ``value`` with what differs from server to server made the same."""
    match value:
        case dict():
            members = {key: "…" if key in _VOLATILE_KEYS else normal(member) for key, member in value.items()}
            for key in ("managedFields", "storageVersionHash"):
                members.pop(key, None)
            if isinstance(members.get("volumes"), list) or "sources" in members:
                _without_fork(members)
            return members
        case list():
            return sorted((normal(member) for member in value), key=_order) if _is_unordered(value) else [
                normal(member) for member in value
            ]  # fmt: skip
        case str():
            text = _GENERATED.sub(lambda found: (found.group(1) or found.group(3) or "token") + "-x", value)
            return _NUMBERS.sub(r"\1n", _ADDRESS.sub("10.0.x.x", _UID.sub("uid", text)))
        case _:
            return value


def _without_fork(members: dict[str, Any]) -> None:
    """The recorded server was a fork's, which mounts a certificate of its own into every pod."""
    members["sources"] = [
        source for source in members.get("sources", []) if "openshift" not in json.dumps(source)
    ]  # fmt: skip


def _is_unordered(value: list[Any]) -> bool:
    kinds = ({"type", "status"}, {"port", "protocol"})
    return any(all(isinstance(member, dict) and kind <= member.keys() for member in value) for kind in kinds)


def _order(member: Any) -> str:
    return json.dumps(member, sort_keys=True)


class Replay:
    """One replay of one recording."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self._url = url
        self._tokens = tokens
        self._names: dict[str, str] = {}
        self._served: set[str] = set()
        self._versions: dict[str, str] = {}

    async def run(self, recording: dict[str, Any], hasty: frozenset[int] = frozenset()) -> Outcome:
        """Replays every step but the watches, in order; the steps of ``hasty`` are not waited for."""
        outcome = Outcome(recording["scenario"])
        agent = recording.get("user_agent", "golden-recorder/1.0")
        async with aiohttp.ClientSession(
            headers={"User-Agent": agent}, timeout=aiohttp.ClientTimeout(total=30)
        ) as http:
            await self._prepare(http, recording)
            for index, step in enumerate(recording["steps"]):
                if "watch" in step or self._is_not_asked(step["request"]["path"]):
                    continue
                difference = await self._step(http, step, patient=index not in hasty)
                if difference is None:
                    outcome.equal += 1
                else:
                    asked = f"{step['request']['method']} {step['request']['path']} ({step.get('note') or ''})"
                    outcome.differing.append((index, asked, difference))
        return outcome

    async def _prepare(self, http: aiohttp.ClientSession, recording: dict[str, Any]) -> None:
        """Learns what is served, and creates the namespace of a recording that does not begin with that itself."""
        _, groups = await self._send(http, {"method": "GET", "path": "/apis"}, "admin")
        self._served = {version["groupVersion"] for group in groups["groups"] for version in group["versions"]}
        namespace = f"g{recording['scenario'][:2]}"
        if not any(namespace in json.dumps(step["request"].get("body")) for step in recording["steps"][:4]):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            request = {"method": "POST", "path": "/api/v1/namespaces", "body": body}
            await self._send(http, request, "admin")

    def _is_not_asked(self, path: str) -> bool:
        """A client that walks the groups asks for none that ``/apis`` does not list."""
        parts = path.strip("/").split("/")
        return parts[0] == "apis" and len(parts) == 3 and "/".join(parts[1:]) not in self._served and "v9" not in parts

    async def _step(self, http: aiohttp.ClientSession, step: dict[str, Any], *, patient: bool) -> str | None:
        """Answers None where the step is equal, what differs otherwise. A GET is repeated until it settles."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (_patience(step) if patient and step["request"]["method"] == "GET" else 0)
        while True:
            status, body = await self._send(http, step["request"], step.get("as", "admin"))
            difference = compare(step["response"], status, body, write=step["request"]["method"] != "GET")
            if difference is None or loop.time() >= end:
                self._learn(step["response"].get("body"), body)
                return difference
            await asyncio.sleep(_POLL_SECONDS)

    async def _send(self, http: aiohttp.ClientSession, request: dict[str, Any], user: str) -> tuple[int, Any]:
        headers = {"Accept": "application/json", **(request.get("headers") or {})}
        headers.pop("User-Agent", None)
        token = self._tokens.get(user)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body = request.get("body")
        data = None
        if isinstance(body, dict) and request["method"] == "PUT":  # the time is another server's
            metadata = {k: v for k, v in body["metadata"].items() if k != "creationTimestamp"}
            body = {**body, "metadata": metadata}
        if body is not None:
            data = self._translate(body if isinstance(body, str) else json.dumps(body)).encode()
            headers["Content-Type"] = request.get("content_type") or "application/json"
        query = {key: self._translate(value) for key, value in (request.get("query") or {}).items()}
        if "resourceVersion" in query:
            query["resourceVersion"] = self._versions.get(query["resourceVersion"], query["resourceVersion"])
        path = self._translate(request["path"])
        async with http.request(
            request["method"], self._url + path, params=query, data=data, headers=headers
        ) as answer:
            text = await answer.text()
            if "json" in answer.headers.get("Content-Type", ""):
                return answer.status, json.loads(text) if text else None
            return answer.status, text or None

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


def _patience(step: dict[str, Any]) -> float:
    return 10.0 if "Deadline" in (step.get("note") or "") else _SETTLE_SECONDS


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


def compare(recorded: dict[str, Any], status: int, body: Any, *, write: bool) -> str | None:
    """Says how an answer differs from the recorded one, or None.

    The answer to a write shows how far the controllers had come at that instant: a race on the recorded server too, so
    that their part of a Deployment is left out there.
    """
    if status != recorded["status"]:
        return f"status {status}, recorded {recorded['status']}: {json.dumps(body)[:300]}"
    theirs, ours = normal(recorded.get("body")), normal(body)
    _keep_served(theirs, ours)
    if write:
        theirs, ours = _without_controllers(theirs), _without_controllers(ours)
    for side in (theirs, ours):
        if isinstance(side, dict) and isinstance(side.get("items"), list):
            side["items"].sort(key=_order)
    return _difference(theirs, ours, "")


def _keep_served(theirs: Any, ours: Any) -> None:
    """Discovery is compared for what is served; the recorded server has more."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return
    for listed in ("groups", "resources"):
        if theirs.get("kind") in ("APIGroupList", "APIResourceList") and ours.get(listed):
            names = {entry["name"] for entry in ours[listed]}
            theirs[listed] = sorted((e for e in theirs[listed] if e["name"] in names), key=_order)
            ours[listed] = sorted(ours[listed], key=_order)


def _without_controllers(body: Any) -> Any:
    if not isinstance(body, dict) or body.get("kind") not in ("Deployment", "Scale"):
        return body
    metadata = dict(body.get("metadata") or {})
    kept = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if not k.startswith("deployment.")}
    rest = {key: part for key, part in body.items() if key != "status"}
    return rest | {"metadata": metadata | ({"annotations": kept} if kept else {})}


def _difference(theirs: Any, ours: Any, path: str) -> str | None:
    if theirs == ours:
        return None
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *ours]:
            if found := _difference(theirs.get(key, "<absent>"), ours.get(key, "<absent>"), f"{path}.{key}"):
                return found
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (there, here) in enumerate(zip(theirs, ours, strict=True)):
            if found := _difference(there, here, f"{path}[{index}]"):
                return found
    return f"{path or '.'}: {json.dumps(ours)[:300]}, recorded {json.dumps(theirs)[:300]}"
