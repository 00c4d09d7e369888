"""Predictions as callers ask for them over HTTP: at once, later (``Prefer: respond-async``), or with a key of the model.

    classify, predict            for the Functions host's own keys
    keyed                        the same, and a model's document and operations, below /api/keyed with a key of that model
    operation                    what became of a prediction that was asked for with respond-async
    perform                      what the queue function calls

``deployer.http`` has the answers themselves.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

import orjson
from opentelemetry.trace import StatusCode

from deployer import http, telemetry
from deployer.control import Control
from deployer.deferred import Answered, Asked, Deferred, Kind, model_of
from deployer.errors import NotFound, SlipwayError, Waking
from deployer.http import Reply, Request
from deployer.keys import ModelKeys
from deployer.names import is_model_name
from deployer.request import Proxy, serving_call
from deployer.request.parse import check_size
from deployer.settings import ProxySettings
from deployer.state import State

log = telemetry.logger(__name__)

KEY_HEADER = "x-slipway-key"
_ASYNC = re.compile(r"(?:^|[,;\s])respond-async(?:$|[,;\s])", re.IGNORECASE)
_WAIT = re.compile(r"(?:^|[,;\s])wait=\d", re.IGNORECASE)
_KEPT_HEADERS = ("content-type", "content-encoding", "x-slipway-session")
_KEPT_PARAMS = ("top", "min_score", "version")
_OPEN, _KEYED = "/api", "/api/keyed"
_UNKNOWN = "unknown"
_LOOK_AGAIN = 5  # seconds; what is told where nothing better is known


@dataclass(frozen=True)
class Predictions:
    """Makes a prediction of what an operation keeps: ``deferred.Predict``."""

    proxy: Proxy
    settings: ProxySettings

    async def __call__(self, asked: Asked) -> Answered:
        """The answer that a caller would have had."""
        request = Request("POST", asked.path, asked.headers, asked.params, asked.body)
        try:
            match asked.kind:
                case "classify":
                    answer = await http.classify(self.proxy, request, self.settings)
                case "predict":
                    answer = await http.predict(self.proxy, request, self.settings)
        except SlipwayError as error:
            answer = http.failure(error)
        later = answer.headers.get("Retry-After")
        return Answered(answer.status, answer.body, int(later) if later is not None else None)


@dataclass(frozen=True)
class Calls:
    """What the HTTP functions of the request path call."""

    proxy: Proxy
    state: State
    control: Control
    deferred: Deferred
    keys: ModelKeys
    settings: ProxySettings

    async def classify(self, request: Request, base: str = _OPEN) -> Reply:
        """``POST /api/classify/MODEL``."""
        return await _told("slipway.classify", request, lambda: self._classified(request, base))

    async def predict(self, request: Request, base: str = _OPEN) -> Reply:
        """``/api/v1/models/…``."""
        return await _told("slipway.predict", request, lambda: self._predicted(request, base))

    async def _classified(self, request: Request, base: str) -> Reply:
        if "prefer" not in request.headers or not _later(request):
            return await http.classify(self.proxy, request, self.settings)
        with self.proxy.holding(request.body):
            await http.asked_of(request, self.settings)
        if _waits(request):
            with contextlib.suppress(Waking):
                return await http.classify(self.proxy, request, self.settings)
        return await self._accepted(_asked("classify", request.path, request), base)

    async def _predicted(self, request: Request, base: str) -> Reply:
        if "prefer" not in request.headers or request.method != "POST" or not _later(request):
            return await http.predict(self.proxy, request, self.settings)
        try:
            check_size(request.body, self.settings)
            model = serving_call("POST", request.path, request.headers, request.body).model
            if _waits(request):
                answer = await http.predict(self.proxy, request, self.settings)
                if not _says_waking(answer):
                    return answer
            return await self._accepted(_asked("predict", model, request), base)
        except SlipwayError as error:
            return http.serving_failure(error)

    async def operation(self, request: Request) -> Reply:
        """``GET /api/operations/ID``."""
        found = await self.deferred.look(request.path)
        later = {"Retry-After": str(found.get("eta_seconds", _LOOK_AGAIN))}
        return http.reply(found, headers=None if "status" in found else later)

    async def keyed(self, request: Request) -> Reply:
        """``/api/keyed/…``, open at the Functions host: the model's key is asked for here, before anything else.

        Raises:
            Unauthorized: the key is none of the model that the path names.
            NotFound: ``unknown_path``.
        """
        what, _, rest = request.path.partition("/")
        key, inner = request.headers.get(KEY_HEADER), replace(request, path=rest)
        match request.method, what, rest.split("/"):
            case "POST", "classify", [model]:
                await self.keys.check(model, key)
                return await self.classify(inner, _KEYED)
            case "GET" | "POST", "v1", ["models", *_]:
                inner = replace(request, path=rest.removeprefix("models").removeprefix("/"))
                await self.keys.check(_serving_model(inner), key)
                return await self.predict(inner, _KEYED)
            case "GET", "operations", [operation]:
                await self.keys.check(model_of(operation), key)
                return await self.operation(inner)
            case "GET", "models", [model, "openapi.json"]:
                await self.keys.check(model, key)
                return http.reply(await asyncio.to_thread(self.control.openapi, model, keyed=True))
        raise NotFound(
            "unknown_path", f"{request.method} /api/keyed/{request.path[:200]} is nothing that can be asked.",
            "Below /api/keyed are classify/MODEL, v1/models/MODEL…, operations/ID and models/MODEL/openapi.json.",
        )  # fmt: skip

    async def perform(self, operation: str) -> None:
        """One look at an operation."""
        with telemetry.span("operation", {"operation": operation[:100]}):
            await self.deferred.perform(operation)

    async def _accepted(self, asked: Asked, base: str) -> Reply:
        if not is_model_name(asked.model):
            raise NotFound(
                "unknown_model", f"'{asked.model[:60]}' is no name of a model.", "GET /api/models lists them."
            )
        with self.proxy.holding(asked.body):
            await asyncio.to_thread(self.state.model, asked.model)
            found = await self.deferred.accept(asked)
        address = f"{base}/operations/{found['id']}"
        headers = {
            "Location": address, "Operation-Location": address, "Preference-Applied": "respond-async",
            "Retry-After": str(_LOOK_AGAIN),
        }  # fmt: skip
        return http.reply(found, 202, headers)


async def _told(name: str, request: Request, call: Callable[[], Awaitable[Reply]]) -> Reply:
    """The call's reply; its span, its metrics and, where it failed, its line in the log."""
    began = time.perf_counter()
    with telemetry.span(name, headers=request.headers) as span:
        try:
            answer = await call()
        except SlipwayError as error:
            answer = http.failure(error)
        except Exception:
            telemetry.requested(_UNKNOWN, None, "internal", time.perf_counter() - began)
            raise
        version = answer.headers.get(http.MODEL_VERSION)
        outcome = "ok" if answer.status < 400 else _code(answer)
        model = _measured_model(request, answer, version)
        telemetry.requested(model, version, outcome, time.perf_counter() - began)
        if span.is_recording():
            span.set_attributes({"model": model, "version": version or "none", "outcome": outcome})
            if answer.status >= 500:
                span.set_status(StatusCode.ERROR, outcome)
    if answer.status >= 500:
        level = logging.INFO if "Retry-After" in answer.headers else logging.WARNING
        log.log(
            level, "%s of '%s' answered %d %s", name, model, answer.status, outcome,
            extra={"model": model, "version": version, "stage": "request", "code": outcome},
        )  # fmt: skip
    return answer


def _measured_model(request: Request, answer: Reply, version: str | None) -> str:
    """The model, where the answer shows that there is one: what is in a path may be any text, and a metric's names are few."""
    known = version is not None or answer.status in (202, 409) or answer.status >= 500
    name = request.path.partition(":")[0].partition("/")[0]
    return name if known and is_model_name(name) else _UNKNOWN


def _code(answer: Reply) -> str:
    """The code of an error; TensorFlow Serving's own have none."""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        document = None
    match document:
        case {"slipway": {"code": str(code)}} | {"error": {"code": str(code)}}:
            return code
    return f"http_{answer.status}"


def _asked(kind: Kind, model: str, request: Request) -> Asked:
    return Asked(
        kind,
        model,
        request.path,
        _kept(request.params, _KEPT_PARAMS),
        _kept(request.headers, _KEPT_HEADERS),
        request.body,
    )


def _kept(given: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    """What an operation keeps: nothing that a prediction does not need, and no key."""
    return {name: given[name] for name in names if name in given}


def _later(request: Request) -> bool:
    return _ASYNC.search(request.headers["prefer"]) is not None


def _waits(request: Request) -> bool:
    """``respond-async, wait=10``: an answer within 10 s, or else an operation."""
    return _WAIT.search(request.headers["prefer"]) is not None


def _says_waking(answer: Reply) -> bool:
    return answer.status == HTTPStatus.SERVICE_UNAVAILABLE and _code(answer) == "waking"


def _serving_model(request: Request) -> str | None:
    try:
        return serving_call(request.method, request.path, {}, b"").model
    except SlipwayError:
        return None
