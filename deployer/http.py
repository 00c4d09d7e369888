"""The HTTP API without any web framework: what a request asks for, and what is answered. ``function_app`` translates.

Every answer carries ``x-request-id``: the caller's own, where it is sane, or a new one; the log of a bug has it, too.
"""

import asyncio
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import orjson

from deployer import telemetry
from deployer.errors import AzureRefused, SlipwayError, TryLater
from deployer.request import Answer, ClassifyRequest, Proxy, Relayed, classify_request, serving_call
from deployer.request.parse import check_size, check_unpacked, is_packed, worked
from deployer.request.serving_api import passed_back
from deployer.settings import ProxySettings

log = telemetry.logger(__name__)

REQUEST_ID = "x-request-id"
MODEL_VERSION = "x-slipway-model-version"
SERVED_BY = "x-slipway-served-by"
_SANE_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """What the platform hands over. Names in ``headers`` are looked up without regard to case."""

    method: str
    path: str  # what the route leaves open, decoded
    headers: Mapping[str, str]
    params: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: _JSON)


async def classify(proxy: Proxy, request: Request, settings: ProxySettings) -> Reply:
    """``POST /api/classify/MODEL``: image in, named classes out."""
    with proxy.holding(request.body):
        with telemetry.span("parse"):
            asked = await asked_of(request, settings)
        found = await proxy.classify(request.path, asked)
    body = {"model": found.model, "version": found.version, "predictions": found.predictions}
    return reply(body, headers=_served_by(found))


async def asked_of(request: Request, settings: ProxySettings) -> ClassifyRequest:
    """What a request to classify asks for.

    Raises:
        BadRequest: what in it cannot be used.
    """
    return await worked(
        lambda: classify_request(request.headers, request.params, request.body, settings), len(request.body)
    )


async def predict(proxy: Proxy, request: Request, settings: ProxySettings) -> Reply:
    """``/api/v1/models/…``: TensorFlow Serving's API. Its answers pass untouched.

    Slipway's own errors keep ``error`` a text there, as TensorFlow Serving's clients read it, and stand whole in ``slipway``.
    """
    try:
        with proxy.holding(request.body):
            with telemetry.span("parse"):
                check_size(request.body, settings)
                if is_packed(request.headers):
                    await asyncio.to_thread(check_unpacked, request.body, settings)
                call = serving_call(request.method, request.path, request.headers, request.body)
            found = await proxy.relay(call)
    except SlipwayError as error:
        return serving_failure(error)
    headers = {**passed_back(found.response.headers), **_served_by(found)}
    return Reply(found.response.status, found.response.body, headers)


def _served_by(found: Answer | Relayed) -> dict[str, str]:
    bridge = {SERVED_BY: "cpu-bridge"} if found.bridge else {}
    return {MODEL_VERSION: str(found.version), **bridge}


def reply(body: Mapping[str, Any], status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON answer."""
    return Reply(status, orjson.dumps(body), {**_JSON, **headers} if headers else _JSON)


def failure(error: SlipwayError) -> Reply:
    """An error as every answer shows it; one that passes says when to come back."""
    match error:
        case TryLater(retry_after=int(seconds)) | AzureRefused(retry_after=float(seconds)) if seconds:
            later = {"Retry-After": str(math.ceil(seconds))}
        case _:
            later = {}
    return reply(error.body(), error.status, later)


def serving_failure(error: SlipwayError) -> Reply:
    """The same below ``/api/v1/``."""
    return replace(failure(error), body=orjson.dumps({"error": error.message, "slipway": error.body()["error"]}))


def guarded(request: Request, call: Callable[[], Reply]) -> Reply:
    """The call's reply, or its error's; with the request's id."""
    number = _request_id(request)
    known = telemetry.request_id.set(number)
    try:
        answer = call()
    except SlipwayError as error:
        answer = failure(error)
    except Exception:  # noqa: BLE001  (the boundary: whatever it was is logged, and told by a number that finds it there)
        answer = _unexpected(number)
    finally:
        telemetry.request_id.reset(known)
    return Reply(answer.status, answer.body, {**answer.headers, REQUEST_ID: number})


async def guarded_async(request: Request, call: Callable[[], Awaitable[Reply]]) -> Reply:
    """The same for a call that waits."""
    number = _request_id(request)
    known = telemetry.request_id.set(number)
    try:
        answer = await call()
    except SlipwayError as error:
        answer = failure(error)
    except Exception:  # noqa: BLE001  (as above)
        answer = _unexpected(number)
    finally:
        telemetry.request_id.reset(known)
    return Reply(answer.status, answer.body, {**answer.headers, REQUEST_ID: number})


def _request_id(request: Request) -> str:
    given = request.headers.get(REQUEST_ID)
    return given if given and _SANE_ID.fullmatch(given) else os.urandom(8).hex()


def _unexpected(number: str) -> Reply:
    """What is said of a bug: nothing of it but the number under which its traceback is logged. Call it while handling."""
    log.exception("unexpected error %s", number)
    return failure(
        SlipwayError("internal", f"Slipway failed at this; the log has it as {number}.", "Report it with that number.")
    )
