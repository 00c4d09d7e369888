"""``metadata.managedFields``: who set which fields, and server-side apply over it. Pure but for the time written.

Apply: what the applier claims is merged into the object; what it claimed before and no longer does is removed, unless
someone else owns it; a change of what another manager owns is a conflict, or with ``force`` takes the field over.
"""

from dataclasses import dataclass

from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.fieldsets import (
    EMPTY,
    FieldSet,
    changed,
    describe,
    fields_of,
    from_fields_v1,
    remove,
    to_fields_v1,
    with_parents,
)
from localcloud.kubernetes.merging import merge
from localcloud.kubernetes.objects import Object, timestamp
from localcloud.kubernetes.schema import Node

_SCALE = "autoscaling/v1"  # what an apply to the scale subresource sees every manager to have written
_IDENTITY = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion",
    "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
_UNOWNED: FieldSet = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",), *((("f:metadata", f"f:{name}")) for name in _IDENTITY)}
)


@dataclass(frozen=True)
class Manager:
    """One writer of fields, as an entry of managedFields identifies it."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def describe(self, version: str) -> str:
        """Names it as conflicts about ``version`` do: appliers by name only, others with how they wrote."""
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == "Apply" else f"{text} using {version or self.api_version}"


@dataclass(frozen=True)
class Ownership:
    """All managers of an object with their fields, and when each last wrote."""

    fields: dict[Manager, FieldSet]
    times: dict[Manager, str]

    @staticmethod
    def read(item: Object | None) -> "Ownership":
        """Reads ``metadata.managedFields``."""
        fields, times = {}, {}
        for entry in (item or {}).get("metadata", {}).get("managedFields") or []:
            manager = Manager(
                entry["manager"], entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", "")
            )
            fields[manager] = from_fields_v1(entry.get("fieldsV1") or {})
            times[manager] = entry.get("time", "")
        return Ownership(fields, times)

    def written(self, manager: Manager, fields: dict[Manager, FieldSet]) -> "Ownership":
        """Returns the ownership after ``manager`` wrote, its time moved if its fields or anyone's did."""
        times = dict(self.times)
        times[manager] = timestamp()
        return Ownership({who: owned for who, owned in fields.items() if owned}, times)

    def write(self, item: Object) -> None:
        """Sets ``metadata.managedFields``: appliers first, then the others by time."""
        order = sorted(self.fields, key=lambda m: (m.operation != "Apply", self.times.get(m, ""), m.name))
        entries: list[Object] = []
        for manager in order:
            entry: Object = {
                "manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version,
                "time": self.times.get(manager) or timestamp(), "fieldsType": "FieldsV1",
                "fieldsV1": to_fields_v1(self.fields[manager]),
            }  # fmt: skip
            if manager.subresource:
                entry["subresource"] = manager.subresource
            entries.append(entry)
        item["metadata"].pop("managedFields", None)
        if entries:
            item["metadata"]["managedFields"] = entries


def record_update(
    node: Node, ownership: Ownership, manager: Manager, before: Object | None, after: Object
) -> Ownership:
    """Returns the ownership after a plain write: the writer takes what it changed, whoever had it."""
    written, removed = changed(node, before or _zero(after), after)
    written, removed = _owned(written), _owned(removed)
    if not written and not removed:
        return ownership
    fields: dict[Manager, FieldSet] = {}
    for who, owned in ownership.fields.items():
        lost = removed if who == manager else removed | written
        fields[who] = frozenset(path for path in owned if path not in lost and not _is_below(path, removed))
    fields[manager] = fields.get(manager, EMPTY) | written
    return ownership.written(manager, fields)


@dataclass(frozen=True)
class Applied:
    """Outcome of an apply, before defaults: the object and who owns what."""

    item: Object
    ownership: Ownership


def apply(node: Node, live: Object, config: Object, ownership: Ownership, manager: Manager, *, force: bool) -> Applied:
    """Applies ``config`` to ``live`` as ``manager``.

    Raises ApiError (409), one cause a field, where another manager owns what would change.
    """
    claimed = _owned(fields_of(node, config))
    before = ownership.fields.get(manager, EMPTY)
    merged = merge(node, live, config)
    others = {who: owned for who, owned in ownership.fields.items() if who != manager}
    held = frozenset().union(*others.values()) if others else EMPTY
    dropped = with_parents(before) - with_parents(claimed)
    kept = {path[:end] for path in held | claimed for end in range(1, len(path) + 1)}
    doomed = frozenset(path for path in dropped if path not in kept)
    pruned = (remove(node, merged, doomed) if doomed else merged) or {}
    written, _ = changed(node, live, merged)
    written = _owned(written)
    conflicts = {who: owned & written for who, owned in others.items() if owned & written}
    if conflicts and not force:
        raise _conflict(conflicts, _SCALE if manager.subresource == "scale" else "")
    _, gone = changed(node, live, pruned)
    fields = {who: frozenset(p for p in owned - written if not _is_below(p, gone)) for who, owned in others.items()}
    fields[manager] = claimed
    if fields == ownership.fields:
        return Applied(pruned, ownership)
    return Applied(pruned, ownership.written(manager, fields))


def _zero(after: Object) -> Object:
    """What a new object is compared with: the parts that a typed object always has, empty."""
    empty: Object = {"metadata": {}}
    for part in ("spec", "status"):
        if isinstance(after.get(part), dict):
            empty[part] = {}
    spec = after.get("spec") or {}
    if isinstance(spec, dict):
        if "template" in spec:
            empty["spec"]["template"] = {"metadata": {}, "spec": {}}
        if "strategy" in spec:
            empty["spec"]["strategy"] = {}
    return empty


def _owned(fields: FieldSet) -> FieldSet:
    return fields - _UNOWNED


def _is_below(path: tuple[str, ...], roots: FieldSet) -> bool:
    return any(path[:end] in roots for end in range(1, len(path) + 1))


def _conflict(conflicts: dict[Manager, FieldSet], version: str) -> ApiError:
    ordered = sorted(((who, sorted(map(describe, owned))) for who, owned in conflicts.items()), key=lambda e: e[0].name)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who.describe(version)}", "field": field}
        for who, fields in ordered
        for field in fields
    ]
    count = len(causes)
    if count == 1:
        listed = f"{causes[0]['message']}: {causes[0]['field']}"
    else:
        listed = "\n".join(
            f"conflicts with {who.describe(version)}:\n" + "\n".join(f"- {field}" for field in fields)
            for who, fields in ordered
        )
    message = f"Apply failed with {count} conflict{'s' if count != 1 else ''}: {listed}"
    return ApiError(409, "Conflict", message, {"causes": causes})
