"""What every Kubernetes object has in common: metadata, owners, conditions, times. Pure functions over plain dicts."""

import copy
import hashlib
import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object, or a part of one, as JSON. What the store holds is never changed in place: copy first."""

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes draws name suffixes from: no vowels, no 0, 1, 3


def clone(value: Object) -> Object:
    """Returns a deep copy of ``value``."""
    return copy.deepcopy(value)


def timestamp(moment: datetime | None = None) -> str:
    """Returns ``moment`` (default: now) as metav1.Time, to the second, in UTC."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Reads a metav1.Time or metav1.MicroTime."""
    return datetime.fromisoformat(text)


def seconds_from_now(seconds: float) -> str:
    """Returns the metav1.Time ``seconds`` from now."""
    return timestamp(datetime.now(UTC) + timedelta(seconds=seconds))


def random_suffix(length: int = 5) -> str:
    """Returns what ``generateName`` appends."""
    return "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(length))


def template_hash(template: Object) -> str:
    """Returns the ``pod-template-hash`` of a pod template: equal for equal templates, whatever the order of keys."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_SUFFIX_ALPHABET[byte % len(_SUFFIX_ALPHABET)] for byte in digest[:10])


def dig(value: Any, *path: str) -> Any:
    """Returns what stands at ``path``, or None where a step is missing."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def name_of(item: Object) -> str:
    """Returns ``metadata.name``."""
    return str(item["metadata"]["name"])


def namespace_of(item: Object) -> str:
    """Returns ``metadata.namespace``, empty for cluster-scoped objects."""
    return str(item["metadata"].get("namespace", ""))


def key_of(item: Object) -> tuple[str, str]:
    """Returns namespace and name: what identifies an object among those of its kind."""
    return namespace_of(item), name_of(item)


def labels_of(item: Object) -> dict[str, str]:
    """Returns ``metadata.labels``."""
    return item.get("metadata", {}).get("labels") or {}


def annotations_of(item: Object) -> dict[str, str]:
    """Returns ``metadata.annotations``."""
    return item.get("metadata", {}).get("annotations") or {}


def is_terminating(item: Object) -> bool:
    """Tells whether deletion of the object has begun."""
    return "deletionTimestamp" in item["metadata"]


def owner_reference(owner: Object) -> Object:
    """Returns the reference by which ``owner`` controls an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owners_of(item: Object) -> list[Object]:
    """Returns ``metadata.ownerReferences``."""
    return item["metadata"].get("ownerReferences") or []


def controller_of(item: Object) -> Object | None:
    """Returns the reference to the controlling owner."""
    return next((owner for owner in owners_of(item) if owner.get("controller")), None)


def controller_key(item: Object, kind: str) -> list[tuple[str, str]]:
    """Returns the key of the controlling owner, if that is of ``kind``."""
    reference = controller_of(item)
    return [(namespace_of(item), reference["name"])] if reference and reference["kind"] == kind else []


def is_controlled_by(item: Object, owner: Object) -> bool:
    """Tells whether ``owner`` is the controlling owner of ``item``."""
    reference = controller_of(item)
    return reference is not None and reference["uid"] == owner["metadata"]["uid"]


def condition(item: Object, kind: str) -> Object | None:
    """Returns the condition of that type from ``status.conditions``."""
    conditions = dig(item, "status", "conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), None)


def is_true(item: Object, kind: str) -> bool:
    """Tells whether the condition of that type stands at "True"."""
    found = condition(item, kind)
    return found is not None and found["status"] == "True"


def since(item: Object, kind: str, status: str) -> str:
    """Returns how long the condition of that type has had ``status``: its time where it has it already, or now."""
    known = condition(item, kind)
    return str(known["lastTransitionTime"]) if known and known["status"] == status else timestamp()


def without_nulls(value: Any) -> Any:
    """Returns ``value`` without null members, as a decoder into typed fields would leave it."""
    match value:
        case dict():
            return {key: without_nulls(member) for key, member in value.items() if member is not None}
        case list():
            return [without_nulls(member) for member in value]
        case _:
            return value


def by_name(items: Iterable[Object]) -> dict[str, Object]:
    """Indexes list entries by their ``name``."""
    return {item["name"]: item for item in items}
