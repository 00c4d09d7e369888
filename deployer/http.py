"""The HTTP API without any web framework: what a request asks for, and what is answered. ``function_app`` translates."""

import logging
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from deployer.control import Control
from deployer.doctor import Doctor
from deployer.errors import AzureRefused, BadRequest, NotFound, SlipwayError, Waking
from deployer.images import images_in

log = logging.getLogger(__name__)

_YEAR_OF_MINUTES = 525_600
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d+)")


@dataclass(frozen=True)
class Reply:
    """Status, JSON body and headers of an answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Classify:
    """A classification request: encoded images, classes wanted at most, and how long the caller would wait for a wake."""

    images: list[bytes]
    top: int | None
    hold_seconds: float


def classify_request(headers: Mapping[str, str], params: Mapping[str, str], body: bytes, *, max_bytes: int) -> Classify:
    """Reads a classification request.

    Raises:
        BadRequest: what in it cannot be used.
    """
    if len(body) > max_bytes:
        raise BadRequest(
            "too_large", f"The body has {len(body)} bytes, and at most {max_bytes} are taken.",
            "Send a smaller image, or raise SLIPWAY_PROXY__MAX_BODY_MB.", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )  # fmt: skip
    top = params.get("top")
    if top is not None and not _COUNT.fullmatch(top):
        raise BadRequest("bad_parameter", f"top={top[:20]} is no number of classes.", "Use ?top=3, for example.")
    wait = _WAIT.search(headers.get("prefer", ""))
    images = images_in(headers.get("content-type", ""), body)
    return Classify(images, None if top is None else int(top), float(wait[1]) if wait else 0.0)


def models(control: Control, method: str, path: str, params: Mapping[str, str], body: bytes = b"") -> Reply:
    """``GET /api/models``, ``GET`` and ``DELETE /api/models/NAME``, ``POST /api/models/NAME/retry`` and ``…/rollback``."""
    name, _, what = path.strip("/").partition("/")
    match method, name, what:
        case "GET", "", "":
            return reply(control.models())
        case "GET", _, "":
            return reply(control.model(name))
        case "DELETE", str() as model, "" if model:
            return reply(control.remove(model, uploads=params.get("uploads") == "true"), HTTPStatus.ACCEPTED)
        case "POST", str() as model, "retry" if model:
            return reply(control.retry(model), HTTPStatus.ACCEPTED)
        case "POST", str() as model, "rollback" if model:
            return reply(control.rollback(model, _version(body)), HTTPStatus.ACCEPTED)
    raise NotFound(
        "unknown_path", f"{method} /api/models/{path.strip('/')} is nothing that can be asked.",
        "GET /api/models, GET and DELETE /api/models/NAME, POST /api/models/NAME/retry and /api/models/NAME/rollback can.",
    )  # fmt: skip


def cluster(control: Control, method: str, path: str, params: Mapping[str, str]) -> Reply:
    """``GET /api/cluster``, ``GET /api/cluster/plan``; ``POST /api/cluster/wake``, ``sleep``, ``hold`` and ``release``."""
    match method, path.strip("/"):
        case "GET", "":
            return reply(control.cluster())
        case "GET", "plan":
            return reply(control.plan())
        case "POST", ("wake" | "sleep" | "hold") as kind:
            return reply(control.order(kind, _minutes(params)), HTTPStatus.ACCEPTED)
        case "POST", "release":
            return reply(control.release(), HTTPStatus.ACCEPTED)
    raise NotFound(
        "unknown_path", f"{method} /api/cluster/{path} is nothing that can be asked.",
        "GET /api/cluster and /api/cluster/plan, POST /api/cluster/wake, sleep, hold and release can.",
    )  # fmt: skip


def doctor(doctor: Doctor, method: str, path: str) -> Reply:
    """``GET /api/doctor`` and ``POST /api/doctor/repair``."""
    match method, path.strip("/"):
        case "GET", "":
            return reply(doctor.examine())
        case "POST", "repair":
            return reply(doctor.repair())
    raise NotFound(
        "unknown_path", f"{method} /api/doctor/{path} is nothing that can be asked.",
        "GET /api/doctor and POST /api/doctor/repair can.",
    )  # fmt: skip


def ledger(control: Control, params: Mapping[str, str]) -> Reply:
    """``GET /api/ledger?month=YYYY-MM``."""
    return reply(control.sums(params.get("month")))


def _version(body: bytes) -> int | None:
    """The version that ``{"version": 3}`` names; None where the body names none."""
    try:
        given = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError as error:
        raise _bad_version(f"it is not JSON ({error})") from error
    if not isinstance(given, dict) or given.keys() - {"version"}:
        raise _bad_version("it holds something else than a version")
    version = given.get("version")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or version < 1):
        raise _bad_version(f"{str(version)[:20]!r} is no number of a version")
    return version


def _bad_version(why: str) -> BadRequest:
    return BadRequest(
        "bad_parameter", f"The body cannot be used: {why}.", 'Send {"version": 2}, or nothing for the one before.'
    )


def _minutes(params: Mapping[str, str]) -> float | None:
    given = params.get("minutes")
    if given is None:
        return None
    if not _COUNT.fullmatch(given) or int(given) > _YEAR_OF_MINUTES:
        raise BadRequest(
            "bad_parameter", f"minutes={given[:20]} is no number of minutes.", "Use ?minutes=90, for example."
        )
    return float(given)


def reply(body: Mapping[str, Any], status: int = HTTPStatus.OK) -> Reply:
    """A JSON answer."""
    return Reply(status, orjson.dumps(body))


def failure(error: SlipwayError) -> Reply:
    """An error as every answer shows it; a wake, and an Azure that wants to be left alone, say when to come back."""
    match error:
        case Waking(eta_seconds=seconds) | AzureRefused(retry_after=float(seconds)):
            headers = {"Retry-After": str(math.ceil(seconds))}
        case _:
            headers = {}
    return Reply(error.status, orjson.dumps(error.body()), headers)


def guarded(call: Callable[[], Reply]) -> Reply:
    """The call's reply, or its error's."""
    try:
        return call()
    except SlipwayError as error:
        return failure(error)
    except Exception:  # noqa: BLE001  (the boundary: whatever it was is logged, and told by a number that finds it there)
        return unexpected()


def unexpected() -> Reply:
    """What is said of a bug: nothing of it but the number under which its traceback is logged. Call it while handling."""
    number = uuid.uuid4().hex[:12]
    log.exception("unexpected error %s", number)
    return failure(
        SlipwayError("internal", f"Slipway failed at this; the log has it as {number}.", "Report it with that number.")
    )
