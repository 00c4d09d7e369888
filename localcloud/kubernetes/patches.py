"""The three patch formats beside server-side apply: JSON merge patch, JSON patch, strategic merge patch. Pure."""

import copy
from typing import Any

from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.schema import Node

_DELETE_LIST = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: members of ``patch`` replace, null removes, lists are replaced whole."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result: Object = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _rejected() -> ApiError:
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def json_patch(target: Object, operations: list[Any]) -> Object:
    """RFC 6902.

    Raises ApiError (422) where an operation does not apply.
    """
    document: Object = {"root": copy.deepcopy(target)}
    for operation in operations:
        try:
            _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _rejected() from error
    result: Object = document["root"]
    return result


def _operate(document: Object, operation: Object) -> None:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            _take(document, path)
        case "replace":
            _take(document, path)
            _add(document, path, copy.deepcopy(operation["value"]))
        case "move":
            _add(document, path, _take(document, _pointer(operation["from"])))
        case "copy":
            _add(document, path, copy.deepcopy(_read(document, _pointer(operation["from"]))))
        case "test":
            if _read(document, path) != operation["value"]:
                raise ValueError(f"test failed at {operation['path']}")
        case unknown:
            raise ValueError(f"unknown operation {unknown!r}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is no JSON pointer; start it with /")
    return ["root", *(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])]


def _read(document: Any, path: list[str]) -> Any:
    for step in path:
        document = document[_index(document, step)] if isinstance(document, list) else document[step]
    return document


def _index(entries: list[Any], step: str) -> int:
    if not step.isdigit():
        raise ValueError(f"{step!r} is no position in a list")
    return int(step)


def _add(document: Any, path: list[str], value: Any) -> None:
    parent, step = _read(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        position = len(parent) if step == "-" else _index(parent, step)
        if position > len(parent):
            raise IndexError(step)
        parent.insert(position, value)
    else:
        parent[step] = value


def _take(document: Any, path: list[str]) -> Any:
    parent, step = _read(document, path[:-1]), path[-1]
    return parent.pop(_index(parent, step)) if isinstance(parent, list) else parent.pop(step)


def strategic_merge(node: Node, target: Any, patch: Any) -> Any:
    """Kubernetes' strategic merge patch: as a merge patch, but lists with a merge key are merged entry by entry."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive == "delete":
        return None
    result: Object = dict(target) if isinstance(target, dict) and directive != "replace" else {}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        child = node.field(key)
        if value is None:
            result.pop(key, None)
            continue
        merged = _strategic_value(child, result.get(key), value)
        if merged is None:
            result.pop(key, None)
        else:
            result[key] = merged
    return _directives(node, result, patch)


def _strategic_value(node: Node | None, current: Any, value: Any) -> Any:
    if node is None:
        return merge_patch(current, value)
    if isinstance(value, dict):
        return strategic_merge(node, current, value)
    if isinstance(value, list) and node.merge_key is not None:
        return _strategic_list(node, current if isinstance(current, list) else [], value)
    return copy.deepcopy(value)


def _strategic_list(node: Node, current: list[Any], patch: list[Any]) -> list[Any]:
    key = node.merge_key
    if any(isinstance(entry, dict) and entry.get("$patch") == "replace" for entry in patch):
        return [copy.deepcopy(entry) for entry in patch if not (isinstance(entry, dict) and "$patch" in entry)]
    if not key:
        return current + [entry for entry in patch if entry not in current]
    merged = {entry.get(key): entry for entry in current}
    named: list[Any] = []
    for entry in patch:
        if not isinstance(entry, dict) or key not in entry:
            raise _rejected()
        identity = entry[key]
        if entry.get("$patch") == "delete":
            merged.pop(identity, None)
        else:
            merged[identity] = strategic_merge(node.items, merged.get(identity, {}), entry)
            named.append(identity)
    return [
        merged[identity]
        for identity in _interleaved([entry.get(key) for entry in current], named)
        if identity in merged
    ]


def _interleaved(before: list[Any], named: list[Any]) -> list[Any]:
    """The order after a merge: what the patch names in its order, each before what stood later; what is new, first."""
    places = {identity: place for place, identity in enumerate(before)}
    others = [identity for identity in before if identity not in named]
    order: list[Any] = []
    for identity in named:
        while others and identity in places and places[others[0]] < places[identity]:
            order.append(others.pop(0))
        order.append(identity)
    return order + others


def _directives(node: Node, result: Object, patch: Object) -> Object:
    retained = patch.get("$retainKeys")
    if retained is not None:
        result = {key: value for key, value in result.items() if key in retained}
    for directive, value in patch.items():
        if directive.startswith(_DELETE_LIST):
            name = directive.removeprefix(_DELETE_LIST)
            result[name] = [entry for entry in result.get(name, []) if entry not in value]
        elif directive.startswith(_ORDER):
            name = directive.removeprefix(_ORDER)
            child = node.field(name)
            if isinstance(result.get(name), list) and child is not None:
                result[name] = _ordered(child.merge_key, result[name], value)
    return result


def _ordered(key: str | None, entries: list[Any], order: list[Any]) -> list[Any]:
    def identity(entry: Any) -> Any:
        return entry.get(key) if key and isinstance(entry, dict) else entry

    places = {identity(entry): position for position, entry in enumerate(order)}
    return sorted(entries, key=lambda entry: places.get(identity(entry), len(places)))
