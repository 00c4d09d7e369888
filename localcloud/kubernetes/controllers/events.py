"""Event objects: what ``kubectl describe`` shows under an object."""

import hashlib

from localcloud.kubernetes.objects import Object, name_of, namespace_of, timestamp
from localcloud.kubernetes.registry import Registry, controller_write
from localcloud.kubernetes.resources import EVENTS, NAMESPACES

_KEPT = 500


def record(registry: Registry, about: Object, kind: str, reason: str, message: str, component: str) -> None:
    """Records an event about an object; one that was recorded before is counted up instead.

    ``kind`` is Normal or Warning. An object whose namespace is gone or going gets none.
    """
    namespace = namespace_of(about) or "default"
    home = registry.store.get(NAMESPACES, "", namespace)
    if home is None or "deletionTimestamp" in home["metadata"]:
        return
    uid = about["metadata"]["uid"]
    digest = hashlib.sha256("\0".join((uid, kind, reason, message, component)).encode()).hexdigest()[:16]
    name = f"{name_of(about)}.{digest}"
    write = controller_write(component)
    existing = registry.store.get(EVENTS, namespace, name)
    if existing is not None:
        counted = {**existing, "count": existing.get("count", 1) + 1, "lastTimestamp": timestamp()}
        registry.update(EVENTS, namespace, name, counted, write)
        return
    _make_room(registry)
    reference = {
        "kind": about["kind"], "apiVersion": about["apiVersion"], "name": name_of(about), "uid": uid,
        "resourceVersion": about["metadata"].get("resourceVersion", ""),
    }  # fmt: skip
    if namespace_of(about):
        reference["namespace"] = namespace
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "involvedObject": reference, "type": kind,
        "reason": reason, "message": message, "count": 1, "firstTimestamp": timestamp(), "lastTimestamp": timestamp(),
        "source": {"component": component}, "reportingComponent": component, "reportingInstance": "",
    }  # fmt: skip
    registry.create(EVENTS, namespace, event, write)


def _make_room(registry: Registry) -> None:
    events = registry.store.objects(EVENTS)
    if len(events) >= _KEPT:
        events.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        for event in events[: _KEPT // 10]:
            registry.store.remove(EVENTS, event)
