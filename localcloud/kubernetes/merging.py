"""Merging a configuration into an object by its schema (server-side apply), and the check that it can be. Pure."""

from typing import Any

from localcloud.kubernetes.errors import internal
from localcloud.kubernetes.fieldsets import describe, entry_segment
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.schema import Node


def merge(node: Node, live: Any, config: Any) -> Any:
    """Returns ``live`` with ``config`` merged in; keyed lists entry by entry, in the order of ``config``."""
    if config is None:
        return live
    match node.shape:
        case "struct" | "map" if isinstance(live, dict) and isinstance(config, dict):
            merged: Object = dict(live)
            for name, member in config.items():
                child = node.field(name)
                merged[name] = member if child is None else merge(child, live.get(name), member)
            return merged
        case "keyed" | "set" if isinstance(live, list) and isinstance(config, list):
            return _merge_entries(node, live, config)
        case _:
            return config


def _merge_entries(node: Node, live: list[Any], config: list[Any]) -> list[Any]:
    old = {entry_segment(node, entry): entry for entry in live}
    new = {entry_segment(node, entry): entry for entry in config}
    merged: list[Any] = []
    waiting, done = list(old), set()
    for segment, entry in new.items():
        # entries that only the live list has keep their place before the next entry both have
        while waiting and waiting[0] not in new:
            merged.append(old[waiting.pop(0)])
        merged.append(merge(node.items, old[segment], entry) if segment in old else entry)
        done.add(segment)
        while waiting and waiting[0] in done:
            waiting.pop(0)
    return merged + [old[segment] for segment in waiting if segment not in new]


def check_config(node: Node, config: Object, title: str) -> None:
    """Checks that a configuration can be merged: declared fields only, no key of a list twice.

    Raises ApiError (500, as the server does) naming each fault.
    """
    faults: list[str] = []
    _check(node, config, (), faults)
    if faults:
        listed = faults[0] if len(faults) == 1 else "errors:\n" + "\n".join(f"  {fault}" for fault in faults)
        raise internal(f"failed to create typed patch object ({title}): {listed}")


def _check(node: Node, value: Any, path: tuple[str, ...], faults: list[str]) -> None:
    match node.shape:
        case "struct" | "map" if isinstance(value, dict):
            unknown = []
            for name, member in value.items():
                child, here = node.field(name), (*path, f"f:{name}")
                if child is None:
                    unknown.append(f"{describe(here)}: field not declared in schema")
                else:
                    _check(child, member, here, faults)
            faults.extend(unknown)
        case "keyed" | "set" if isinstance(value, list):
            seen: set[str] = set()
            for entry in value:
                if node.shape == "keyed" and not isinstance(entry, dict):
                    faults.append(f"{describe(path)}: expected an object, got {entry!r}")
                    continue
                segment = entry_segment(node, entry)
                if segment in seen:
                    faults.append(f"{describe(path)}: duplicate entries for key {describe((segment,))}")
                seen.add(segment)
                if node.shape == "keyed":
                    _check(node.items, entry, (*path, segment), faults)
        case _:
            pass
