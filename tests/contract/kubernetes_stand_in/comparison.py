"""How an answer is compared with the recorded one: what differs from server to server is made the same. Pure.

Left out, and nothing else:

- uids, resourceVersions, times, managedFields, continue tokens, drawn addresses and ports, the suffixes of generated names;
- build particulars of ``/version``, the certificate in ``kube-root-ca.crt``, what the recorded fork mounts into every pod;
- the order of a list's items, of conditions and of ports;
- in discovery, what the server asked does not list (it has fewer resources, and says so);
- of the answer to a *write* of a Deployment or its Scale, the controllers' part: how far they had come at that instant;
- of a list of namespaces, those of the other recordings, which shared one server;
- how many bookmarks a watch gets before it ends: they come by the server's clock. That they come is compared.
"""

import json
import re
from typing import Any

_VOLATILE_KEYS = frozenset(
    {
        "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "lastTransitionTime", "lastUpdateTime",
        "lastHeartbeatTime", "lastPhaseTransitionTime", "startTime", "startedAt", "clusterIP", "clusterIPs", "nodePort",
        "time", "serverAddressByClientCIDRs", "continue", "gitCommit", "goVersion", "compiler", "ca.crt",
        "endpoints.kubernetes.io/last-change-trigger-time", "controller-uid", "pod-template-hash",
        "batch.kubernetes.io/controller-uid",
    }
)  # fmt: skip
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_GENERATED = re.compile(
    r"\b(tfs|un|pend)-[a-z0-9]{8,10}(-[a-z0-9]{5})?\b|\b(gen|lb|tfs|1bad)-[a-z0-9]{5}\b|kube-api-access-[a-z0-9]{5}"
)
_ADDRESS = re.compile(r"\b10\.0\.\d+\.\d+\b")
_REVISIONS = re.compile(r"(resource version: |current: |match the ResourceVersion in record \()\d+( \(\d+\))?")
_END_OF_LIST = "k8s.io/initial-events-end"


def normal(value: Any) -> Any:
    """Returns ``value`` with what differs from server to server made the same."""
    match value:
        case dict():
            members = {key: "…" if key in _VOLATILE_KEYS else normal(member) for key, member in value.items()}
            for key in ("managedFields", "storageVersionHash"):
                members.pop(key, None)
            if "sources" in members:  # the recorded server was a fork's, which mounts a certificate of its own
                members["sources"] = [s for s in members["sources"] if "openshift" not in json.dumps(s)]
            return members
        case list():
            entries = [normal(member) for member in value]
            return sorted(entries, key=_order) if _is_unordered(value) else entries
        case str():
            text = _GENERATED.sub(lambda found: (found.group(1) or found.group(3) or "token") + "-x", value)
            return _REVISIONS.sub(r"\1n", _ADDRESS.sub("10.0.x.x", _UID.sub("uid", text)))
        case _:
            return value


def _is_unordered(value: list[Any]) -> bool:
    kinds = ({"type", "status"}, {"port", "protocol"})
    return any(all(isinstance(member, dict) and kind <= member.keys() for member in value) for kind in kinds)


def _order(member: Any) -> str:
    return json.dumps(member, sort_keys=True)


def compare(recorded: dict[str, Any], status: int, body: Any, *, write: bool) -> str | None:
    """Says how an answer differs from the recorded one, or None."""
    if status != recorded["status"]:
        return f"status {status}, recorded {recorded['status']}: {json.dumps(body)[:300]}"
    theirs, ours = normal(recorded.get("body")), normal(body)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        _keep_served(theirs, ours)
        _keep_own_namespaces(theirs, ours)
    if write:
        theirs, ours = _without_controllers(theirs), _without_controllers(ours)
    for side in (theirs, ours):
        if isinstance(side, dict) and isinstance(side.get("items"), list):
            side["items"].sort(key=_order)
    return difference(theirs, ours, "")


def compare_events(recorded: dict[str, Any], status: int, body: Any, events: list[dict[str, Any]]) -> str | None:
    """Says how a watch differs from the recorded one, or None; ``body`` is the answer where it is no stream."""
    if status != recorded["status"] or not recorded.get("events"):
        return compare(recorded, status, body, write=False) if body is not None or recorded.get("body") else (
            f"{len(events)} events, recorded none" if events else None
        )  # fmt: skip
    theirs, ours = recorded["events"], events
    if any(map(_is_bookmark, theirs)) and not any(map(_is_bookmark, ours)):
        return "no bookmark came, recorded some"
    told = [
        [(event["type"], normal(event["object"])) for event in side if not _is_bookmark(event)]
        for side in (theirs, ours)
    ]
    if [kind for kind, _ in told[0]] != [kind for kind, _ in told[1]]:
        return f"events {' '.join(kind for kind, _ in told[1])}, recorded {' '.join(kind for kind, _ in told[0])}"
    return difference(told[0], told[1], "events")


def _is_bookmark(event: dict[str, Any]) -> bool:
    annotations = event["object"].get("metadata", {}).get("annotations") or {}
    return event["type"] == "BOOKMARK" and _END_OF_LIST not in annotations


def _keep_served(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    match theirs.get("kind"):
        case "APIGroupList":
            _keep_listed(theirs, ours, "groups", "name")
            _keep_listed_below(theirs["groups"], ours["groups"], "name", "versions", "version")
        case "APIGroup":
            _keep_listed(theirs, ours, "versions", "version")
        case "APIResourceList":
            _keep_listed(theirs, ours, "resources", "name")
        case "APIGroupDiscoveryList" if ours.get("kind") == "APIGroupDiscoveryList":
            for there, here in zip(theirs["items"], ours["items"], strict=False):
                _keep_listed(there, here, "versions", "version")
                _keep_listed_below(there["versions"], here["versions"], "version", "resources", "resource")
                for t, h in zip(there["versions"], here["versions"], strict=False):
                    _keep_listed_below(t["resources"], h["resources"], "resource", "subresources", "subresource")
        case None if isinstance(theirs.get("paths"), list) and isinstance(ours.get("paths"), list):
            theirs["paths"] = [path for path in theirs["paths"] if path in ours["paths"]]
        case _:
            pass


def _keep_listed(theirs: dict[str, Any], ours: dict[str, Any], listed: str, name: str) -> None:
    names = {entry[name] for entry in ours.get(listed) or []}
    theirs[listed] = sorted((e for e in theirs.get(listed) or [] if e[name] in names), key=_order)
    ours[listed] = sorted(ours.get(listed) or [], key=_order)


def _keep_listed_below(theirs: list[Any], ours: list[Any], key: str, listed: str, name: str) -> None:
    found = {entry[key]: entry for entry in ours}
    for there in theirs:
        if there[key] in found:
            _keep_listed(there, found[there[key]], listed, name)


def _keep_own_namespaces(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    if theirs.get("kind") == ours.get("kind") == "NamespaceList":
        names = {item["metadata"]["name"] for item in ours["items"]}
        theirs["items"] = [item for item in theirs["items"] if item["metadata"]["name"] in names]


def _without_controllers(body: Any) -> Any:
    if not isinstance(body, dict) or body.get("kind") not in ("Deployment", "Scale"):
        return body
    metadata = dict(body.get("metadata") or {})
    kept = {k: v for k, v in (metadata.pop("annotations", None) or {}).items() if not k.startswith("deployment.")}
    rest = {key: part for key, part in body.items() if key != "status"}
    return rest | {"metadata": metadata | ({"annotations": kept} if kept else {})}


def difference(theirs: Any, ours: Any, path: str) -> str | None:
    """Names the first place where two values differ, or None."""
    if theirs == ours:
        return None
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*theirs, *ours]:
            if found := difference(theirs.get(key, "<absent>"), ours.get(key, "<absent>"), f"{path}.{key}"):
                return found
    if isinstance(theirs, list | tuple) and isinstance(ours, list | tuple) and len(theirs) == len(ours):
        for index, (there, here) in enumerate(zip(theirs, ours, strict=True)):
            if found := difference(there, here, f"{path}[{index}]"):
                return found
    return f"{path or '.'}: {json.dumps(ours)[:300]}, recorded {json.dumps(theirs)[:300]}"
