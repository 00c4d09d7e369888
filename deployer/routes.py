"""The routes of state and control, without any web framework: what is asked of models, keys, cluster, ledger and doctor."""

import re
from collections.abc import Mapping
from http import HTTPStatus

import orjson

from deployer.control import Control
from deployer.doctor import Doctor
from deployer.errors import BadRequest, NotFound
from deployer.http import Reply, Request, reply
from deployer.keys import ModelKeys

_YEAR_OF_MINUTES = 525_600
_COUNT = re.compile(r"[1-9][0-9]{0,8}")


def models(control: Control, request: Request) -> Reply:
    """``GET /api/models``, ``GET`` and ``DELETE /api/models/NAME``, ``GET …/openapi.json``, ``POST …/retry``, ``…/rollback``."""
    match request.method, request.path.strip("/").split("/"):
        case "GET", [""]:
            return reply(control.models())
        case "GET", [name]:
            return reply(control.model(name))
        case "GET", [name, "openapi.json"]:
            return reply(control.openapi(name))
        case "DELETE", [name] if name:
            return reply(control.remove(name, uploads=request.params.get("uploads") == "true"), HTTPStatus.ACCEPTED)
        case "POST", [name, "retry"]:
            return reply(control.retry(name), HTTPStatus.ACCEPTED)
        case "POST", [name, "rollback"]:
            return reply(control.rollback(name, _version(request.body)), HTTPStatus.ACCEPTED)
    raise _unknown(
        request,
        "models",
        "GET /api/models, GET and DELETE /api/models/NAME, GET …/openapi.json, POST …/retry and …/rollback",
    )


def openapi(control: Control) -> Reply:
    """``GET /api/openapi.json``."""
    return reply(control.openapi())


def keys(found: ModelKeys, request: Request) -> Reply:
    """``GET`` and ``POST /api/keys/MODEL``, ``DELETE /api/keys/MODEL/NAME``."""
    match request.method, request.path.strip("/").split("/"):
        case "GET", [model] if model:
            return reply(found.listed(model))
        case "POST", [model] if model:
            return reply(found.add(model, _key_name(request.body)), HTTPStatus.CREATED)
        case "DELETE", [model, name]:
            return reply(found.remove(model, name))
    raise _unknown(request, "keys", "GET and POST /api/keys/MODEL, and DELETE /api/keys/MODEL/NAME")


def _key_name(body: bytes) -> str:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("bad_json", f"The body is not JSON: {error}.", 'Send {"name": "who will use it"}.') from error
    match document:
        case {"name": str(name)}:
            return name
    raise BadRequest("bad_key_name", "The body has no 'name' for the key.", 'Send {"name": "who will use it"}.')


def cluster(control: Control, request: Request) -> Reply:
    """``GET /api/cluster``, ``GET /api/cluster/plan``; ``POST /api/cluster/wake``, ``sleep``, ``hold`` and ``release``."""
    match request.method, request.path.strip("/"):
        case "GET", "":
            return reply(control.cluster())
        case "GET", "plan":
            return reply(control.plan())
        case "POST", ("wake" | "sleep" | "hold") as kind:
            return reply(control.order(kind, _minutes(request.params)), HTTPStatus.ACCEPTED)
        case "POST", "release":
            return reply(control.release(), HTTPStatus.ACCEPTED)
    raise _unknown(
        request, "cluster", "GET /api/cluster and /api/cluster/plan, POST /api/cluster/wake, sleep, hold and release"
    )


def ledger(control: Control, request: Request) -> Reply:
    """``GET /api/ledger?month=YYYY-MM``."""
    return reply(control.sums(request.params.get("month")))


def doctor(doctor: Doctor, request: Request) -> Reply:
    """``GET /api/doctor`` and ``POST /api/doctor/repair``."""
    match request.method, request.path.strip("/"):
        case "GET", "":
            return reply(doctor.examine())
        case "POST", "repair":
            return reply(doctor.repair())
    raise _unknown(request, "doctor", "GET /api/doctor and POST /api/doctor/repair")


def _unknown(request: Request, root: str, can: str) -> NotFound:
    path = "/".join(part for part in ("/api", root, request.path.strip("/")[:200]) if part)
    return NotFound("unknown_path", f"{request.method} {path} is nothing that can be asked.", f"{can} can.")


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
