"""Spans, metrics and structured logs, through the standard library and OpenTelemetry's API alone.

Without an SDK in the process nothing is recorded, and what remains costs a microsecond or two a request. On Azure the setting
``PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY`` has the worker bring the SDK and the exporter.

Spans      slipway.classify, slipway.predict → parse, route, forward; upload → scan, convert, publish; rollout.step; teardown;
           operation
Metrics    slipway.requests (model, version, outcome) · slipway.request.duration (model, outcome) in seconds ·
           slipway.wakes (model, by) · slipway.conversions (outcome)
Log        fields request_id, model, version, stage, code, where they are known: ``extra`` of the record, which become custom
           dimensions
"""

import json
import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from opentelemetry import context, metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Attributes = Mapping[str, str | int | float | bool]
FIELDS = ("request_id", "model", "version", "stage", "code", "operation")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_tracer = trace.get_tracer("slipway")
_meter = metrics.get_meter("slipway")
_requests = _meter.create_counter("slipway.requests", description="requests by model, version and outcome")
_durations = _meter.create_histogram("slipway.request.duration", unit="s", description="time to answer a request")
_wakes = _meter.create_counter("slipway.wakes", description="models woken, by what")
_conversions = _meter.create_counter("slipway.conversions", description="conversions by outcome")
_traceparent = TraceContextTextMapPropagator()


class span:  # noqa: N801  (a context manager, used as a function)
    """A span for the block, current within it; an exception that leaves the block is its status.

    ``headers``: of a request, whose ``traceparent`` is the span's parent. Cheaper than the API's own context manager where
    nothing is recorded.
    """

    __slots__ = ("_attributes", "_headers", "_name", "_span", "_token")

    def __init__(
        self, name: str, attributes: Attributes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._attributes = attributes
        self._headers = headers
        self._token: Token[Context] | None = None

    def __enter__(self) -> trace.Span:
        self._span = made = _tracer.start_span(self._name, self._parent(), attributes=self._attributes)
        if made.is_recording():
            self._token = context.attach(trace.set_span_in_context(made))
        return made

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            context.detach(self._token)
            if error is not None:
                self._span.record_exception(error)
                self._span.set_status(trace.StatusCode.ERROR, str(error))
        self._span.end()

    def _parent(self) -> Context | None:
        given = self._headers.get("traceparent") if self._headers is not None else None
        return _traceparent.extract({"traceparent": given}) if given is not None else None


def requested(model: str, version: str | None, outcome: str, seconds: float) -> None:
    """Counts a request. ``outcome``: ``ok``, or the code of the error. Keep ``model`` to names that there are."""
    _durations.record(seconds, {"model": model, "outcome": outcome})
    _requests.add(1, {"model": model, "version": version or "none", "outcome": outcome})


def woken(model: str, by: str) -> None:
    """Counts a wake."""
    _wakes.add(1, {"model": model, "by": by})


def converted(outcome: str) -> None:
    """Counts a conversion: ``done``, ``refused`` or ``failed``."""
    _conversions.add(1, {"outcome": outcome})


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """Adds the request's id to each record that is written, beside the fields given."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        number = request_id.get()
        if number is not None:
            kwargs["extra"] = {"request_id": number, **(kwargs.get("extra") or {})}
        return msg, kwargs


def logger(name: str) -> _Logger:
    """The logger of a module."""
    return _Logger(logging.getLogger(name), {})


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, the fields, and ``exception`` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname, "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        line |= {name: value for name in FIELDS if (value := record.__dict__.get(name)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def write_json_lines() -> None:
    """Has Slipway's own log written to standard output in this form, and not to the platform's handlers as well."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    own = logging.getLogger("deployer")
    own.handlers, own.propagate = [handler], False
    if own.level == logging.NOTSET:
        own.setLevel(logging.INFO)
