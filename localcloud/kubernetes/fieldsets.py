"""Which fields an object has, and how two objects differ, as sets of paths. Pure.

A path is a tuple of the segments that FieldsV1 uses: ``f:name``, ``k:{"name":"a"}`` (entry of a keyed list), ``v:"x"``
(entry of a set). Server-side apply's ownership is arithmetic on such sets.
"""

import json
from typing import Any

from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.schema import Node

Path = tuple[str, ...]
FieldSet = frozenset[Path]

EMPTY: FieldSet = frozenset()


def entry_segment(node: Node, entry: Any) -> str:
    """Returns the segment of an entry of a keyed list or a set; ``node`` is the list's."""
    if node.shape == "set":
        return "v:" + json.dumps(entry, separators=(",", ":"))
    keys = {key: entry.get(key, node.key_default(key)) for key in sorted(node.keys)}
    present = {key: value for key, value in keys.items() if value is not None}
    return "k:" + json.dumps(present, separators=(",", ":"))


def fields_of(node: Node, value: Any) -> FieldSet:
    """Returns what an applied configuration claims: its leaves, and each entry of its keyed lists."""
    found: set[Path] = set()
    _claim(node, value, (), found)
    return frozenset(found)


def _claim(node: Node, value: Any, path: Path, found: set[Path]) -> None:
    match node.shape:
        case "struct" | "map" if isinstance(value, dict) and value:
            for name, member in value.items():
                child = node.field(name)
                if child is not None:
                    _claim(child, member, (*path, f"f:{name}"), found)
        case "keyed" | "set" if isinstance(value, list) and value:
            for entry in value:
                here = (*path, entry_segment(node, entry))
                found.add(here)
                if node.shape == "keyed":
                    _claim(node.items, entry, here, found)
        case _:
            found.add(path)


def with_parents(fields: FieldSet) -> FieldSet:
    """Returns ``fields`` with every named field above them."""
    return fields | {path[:end] for path in fields for end in range(1, len(path)) if path[end - 1].startswith("f:")}


def changed(node: Node, before: Any, after: Any) -> tuple[FieldSet, FieldSet]:
    """Compares two values of the same place: returns (set or changed in ``after``, gone from it)."""
    written: set[Path] = set()
    removed: set[Path] = set()

    def compare(node: Node, before: Any, after: Any, path: Path) -> None:
        if before == after:
            return
        if node.shape not in ("struct", "map", "keyed", "set"):
            (removed if after is None else written).add(path)
            return
        if after is None:
            removed.add(path)
        elif before is None and path:
            written.add(path)
        old, new = _members(node, before), _members(node, after)
        for segment in {**old, **new}:
            child, here = _child(node, segment), (*path, segment)
            if child is None:
                if (segment in old) != (segment in new):
                    (written if segment in new else removed).add(here)
                continue
            if segment.startswith("k:") and segment not in old:
                written.add(here)
            compare(child, old.get(segment), new.get(segment), here)

    compare(node, before, after, ())
    return frozenset(written), frozenset(removed)


def _members(node: Node, value: Any) -> dict[str, Any]:
    if not value:
        return {}
    if node.shape in ("struct", "map"):
        return {f"f:{name}": member for name, member in value.items()}
    return {entry_segment(node, entry): entry for entry in value}


def _child(node: Node, segment: str) -> Node | None:
    if segment.startswith("f:"):
        return node.field(segment[2:])
    return node.items if segment.startswith("k:") else None


def to_fields_v1(fields: FieldSet) -> Object:
    """Writes a set as FieldsV1: nested, ``.`` marks a member that has members below it."""
    tree: Object = {}
    for path in sorted(fields):
        branch = tree
        for segment in path:
            branch = branch.setdefault(segment, {})
        branch["."] = {}
    return _prune_dots(tree)


def _prune_dots(tree: Object) -> Object:
    below = {segment: _prune_dots(branch) for segment, branch in tree.items() if segment != "."}
    return {**({".": {}} if "." in tree else {}), **below} if below else {}


def from_fields_v1(tree: Object) -> FieldSet:
    """Reads FieldsV1."""
    found: set[Path] = set()

    def visit(branch: Object, path: Path) -> None:
        if path and (not branch or "." in branch):
            found.add(path)
        for segment, below in branch.items():
            if segment != ".":
                visit(below, (*path, segment))

    visit(tree, ())
    return frozenset(found)


def describe(path: Path) -> str:
    """Writes a path as conflicts name it: ``.spec.containers[name="a"].image``."""
    text = ""
    for segment in path:
        kind, _, rest = segment.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items()) + "]"
        else:
            text += f"[={rest}]"
    return text


def remove(node: Node, value: Any, doomed: FieldSet) -> Any:
    """Returns ``value`` without the fields of ``doomed``; None where nothing is left of a struct, map or list."""
    if () in doomed:
        return None
    below: dict[str, set[Path]] = {}
    for path in doomed:
        below.setdefault(path[0], set()).add(path[1:])
    match node.shape:
        case "struct" | "map" if isinstance(value, dict):
            kept: Object = {}
            for name, member in value.items():
                paths, child = below.get(f"f:{name}"), node.field(name)
                left = remove(child, member, frozenset(paths)) if paths and child is not None else member
                if left is not None:
                    kept[name] = left
            return kept or None
        case "keyed" | "set" if isinstance(value, list):
            entries = []
            for entry in value:
                paths = below.get(entry_segment(node, entry))
                left = remove(node.items, entry, frozenset(paths)) if paths else entry
                if left is not None:
                    entries.append(left)
            return entries or None
        case _:
            return value
