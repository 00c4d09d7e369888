"""TensorFlow Serving's REST API, as it is: which of its questions a path and method ask. Pure.

The patterns are TensorFlow Serving's own (case does not matter, the whole path must match), and so are the words in which it
refuses. Labels are ``stable`` and ``canary``, the names that its documentation uses; a model server behind the proxy knows
one version and no labels, so both, like the version, are resolved here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from deployer.errors import BadRequest
from deployer.record import ModelRecord
from deployer.request.forward import Outgoing
from deployer.request.parse import Wanted, wanted
from deployer.request.routes import Target

_HINT = "POST /api/v1/models/NAME[/versions/N|/labels/L]:predict, :classify or :regress; GET …[/metadata]."
_WHICH = r"(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_POST = re.compile(_WHICH + r"(?P<tail>:(?:predict|classify|regress))", re.IGNORECASE | re.ASCII)
_GET = re.compile(_WHICH + r"(?P<tail>/metadata)?", re.IGNORECASE | re.ASCII)
_PASSED_ON = ("accept", "accept-encoding", "content-encoding", "content-type")
_PASSED_BACK = ("content-encoding", "content-type")
_MAX_VERSION = 2**63 - 1


@dataclass(frozen=True)
class ServingCall:
    """One question of TensorFlow Serving's API. ``tail``: what follows the version in its path."""

    model: str
    method: str
    tail: str
    label: str | None
    wanted: Wanted
    body: bytes
    headers: Mapping[str, str]

    @property
    def predicts(self) -> bool:
        """Whether this is a prediction, for which a model is woken, and not a look at status or metadata."""
        return self.method == "POST"

    def resolved(self, record: ModelRecord) -> Wanted:
        """What is wanted, with the label replaced by the version that has it now.

        Raises:
            BadRequest: ``unknown_label``, in TensorFlow Serving's words.
        """
        if self.label is None:
            return self.wanted
        version = None
        match self.label, record.route:
            case "stable", route if route is not None or record.desired is not None:
                return replace(self.wanted, stable=True)
            case "canary", route if route is not None and route.canary is not None:
                version = route.canary.version
        if version is None:
            raise BadRequest(
                "unknown_label", f"Unrecognized servable version label: {self.label[:60]}",
                "'stable' is the version that serves, 'canary' the one that is tried beside it.",
            )  # fmt: skip
        return replace(self.wanted, version=version)

    def outgoing(self, target: Target) -> Outgoing:
        """The same question to the server of one version."""
        path = f"/v1/models/{self.model}/versions/{target.version}{self.tail}"
        return Outgoing(self.method, path, self.body, self.headers)


def serving_call(method: str, path: str, headers: Mapping[str, str], body: bytes) -> ServingCall:
    """Reads a request to ``/v1/models/PATH``; ``path`` is decoded.

    Raises:
        BadRequest: ``malformed_request``, in TensorFlow Serving's words.
    """
    found = (_POST if method == "POST" else _GET).fullmatch(path)
    if found is None:
        missing = not path.strip("/") and method == "GET"
        raise BadRequest(
            "malformed_request",
            "Missing model name in request." if missing else f"Malformed request: {method} /v1/models/{path[:200]}", _HINT,
        )  # fmt: skip
    version = int(found["version"]) if found["version"] and len(found["version"]) < 20 else None
    if found["version"] and (version is None or version > _MAX_VERSION):
        raise BadRequest("malformed_request", f"Failed to convert version: {found['version'][:40]}", _HINT)
    return ServingCall(
        model=unquote(found["model"]), method=method, tail=(found["tail"] or "").lower(),
        label=found["label"] and unquote(found["label"]), wanted=wanted(headers, version=version),
        body=body if method == "POST" else b"", headers={name: headers[name] for name in _PASSED_ON if name in headers},
    )  # fmt: skip


def passed_back(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that say what its body is."""
    return {name: headers[name] for name in _PASSED_BACK if name in headers}
