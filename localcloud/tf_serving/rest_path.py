"""The paths of TensorFlow Serving's REST API. Pure."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from localcloud.tf_serving.errors import invalid

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<action>classify|regress|predict)", re.I | re.A)
_GET = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<action>metadata))?", re.I | re.A)
_MOST = 2**63 - 1

Action = Literal["predict", "classify", "regress", "status", "metadata"]


@dataclass(frozen=True)
class Target:
    """The model that a request names: its latest version, or one by number or by label."""

    model: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Call:
    """What a request asks for."""

    action: Action
    target: Target


def parse(method: str, path: str) -> Call:
    """Reads a request line; ``path`` is as it came, without the query.

    Raises:
        ServingError: INVALID_ARGUMENT for any path or method that TensorFlow Serving does not know.
    """
    pattern = {"POST": _POST, "GET": _GET}.get(method)
    found = pattern.fullmatch(path) if pattern else None
    malformed = invalid(f"Malformed request: {method} {path}")
    if found is None:
        raise malformed
    if found["name"] is None:
        raise invalid("Missing model name in request.")
    if found["version"] is not None and int(found["version"]) > _MOST:
        raise invalid(f"Failed to convert version: {found['version']} to numeric.")
    target = Target(
        model=_decoded(found["name"]),
        version=None if found["version"] is None else int(found["version"]),
        label=None if found["label"] is None else _decoded(found["label"]),
    )
    match method, found["action"]:
        case "POST", ("predict" | "classify" | "regress") as action:
            return Call(action, target)
        case "GET", "metadata":
            return Call("metadata", target)
        case "GET", _:  # as the real server does, a subresource in capitals is matched and answered with the status
            return Call("status", target)
    raise malformed  # a method in capitals is matched, then refused


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")
