"""Spans, metrics and log lines, as an OpenTelemetry SDK in the process and the platform's log see them."""

import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deployer import telemetry
from deployer.http import Request, guarded_async
from tests.deployed import Deployed
from tests.unit.request.pictures import png
from tests.unit.request.proxied import ModelServer, answering
from tests.unit.request.test_operations import PREDICT, Operations

ROOT = Path(__file__).parents[3]
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def sdk() -> Iterator[tuple[InMemorySpanExporter, InMemoryMetricReader]]:
    """The SDK, once for this process: OpenTelemetry takes no second provider."""
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    traces, measured = TracerProvider(), MeterProvider([reader])
    traces.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(measured)
    yield spans, reader
    traces.shutdown()
    measured.shutdown()


@pytest.fixture
def spans(sdk: tuple[InMemorySpanExporter, InMemoryMetricReader]) -> InMemorySpanExporter:
    """The spans of one test."""
    sdk[0].clear()
    return sdk[0]


@pytest.fixture
async def kept() -> AsyncIterator[Operations]:
    made = Operations()
    yield made
    await made.proxy.close()


def named(spans: InMemorySpanExporter, name: str) -> ReadableSpan:
    (found,) = [span for span in spans.get_finished_spans() if span.name == name]
    return found


def counted(reader: InMemoryMetricReader, name: str) -> dict[tuple[str, ...], Any]:
    """Each point's value (of a histogram: its count) by the values of its attributes."""
    data = reader.get_metrics_data()
    assert data is not None
    return {
        tuple(str(value) for _, value in sorted((point.attributes or {}).items())): (
            point.value if isinstance(point, NumberDataPoint) else point.count
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    }


async def classify(kept: Operations, model: str = "cats", **headers: str) -> int:
    request = Request("POST", model, headers, {}, png())
    return (await guarded_async(request, lambda: kept.calls.classify(request))).status


async def test_a_classification_is_a_span_with_its_parts(
    kept: Operations, server: ModelServer, spans: InMemorySpanExporter
) -> None:
    kept.serve(server.address)
    assert await classify(kept, traceparent=TRACEPARENT) == 200
    whole = named(spans, "slipway.classify")
    assert whole.attributes == {"model": "cats", "version": "1", "outcome": "ok"}
    assert whole.parent is not None and f"{whole.parent.span_id:x}" == TRACEPARENT.split("-")[2]
    for part in ("parse", "route", "forward"):
        parent = named(spans, part).parent
        assert parent is not None and whole.context is not None
        assert parent.span_id == whole.context.span_id


async def test_requests_are_counted_by_model_version_and_outcome(
    kept: Operations, server: ModelServer, sdk: tuple[InMemorySpanExporter, InMemoryMetricReader]
) -> None:
    before = counted(sdk[1], "slipway.requests") if sdk[1].get_metrics_data() else {}
    kept.serve(server.address)
    assert [await classify(kept) for _ in range(3)] == [200] * 3
    assert await classify(kept, "no-such-model") == 404
    request = Request("POST", "cats:predict", {}, {}, PREDICT)
    assert (await kept.calls.predict(request)).status == 200
    kept.serve(None, asleep=True)
    assert await classify(kept) == 503
    after = counted(sdk[1], "slipway.requests")
    grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    assert grown == {("cats", "ok", "1"): 4, ("unknown", "unknown_model", "none"): 1, ("cats", "waking", "none"): 1}
    assert counted(sdk[1], "slipway.wakes")[("request", "cats")] >= 1
    assert counted(sdk[1], "slipway.request.duration")[("cats", "ok")] >= 4


async def test_a_failed_request_is_a_failed_span_and_a_line_with_fields(
    kept: Operations, spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    async with ModelServer(answering) as gone:
        kept.serve(gone.address)
    assert await classify(kept, **{"x-request-id": "r-1"}) == 503
    assert named(spans, "slipway.classify").status.status_code is trace.StatusCode.ERROR
    record = caplog.records[-1]
    fields = {name: record.__dict__.get(name) for name in ("request_id", "model", "stage", "code")}
    assert fields == {"request_id": "r-1", "model": "cats", "stage": "request", "code": "model_server"}


def test_an_upload_and_its_rollout_are_spans(
    spans: InMemorySpanExporter, sdk: tuple[InMemorySpanExporter, InMemoryMetricReader]
) -> None:
    slipway = Deployed()
    slipway.drop("cats.keras", b"model")
    upload = named(spans, "upload")
    assert upload.context is not None
    for stage in ("scan", "convert", "publish"):
        parent = named(spans, stage).parent
        assert parent is not None and parent.span_id == upload.context.span_id
    steps = [dict(span.attributes or {}) for span in spans.get_finished_spans() if span.name == "rollout.step"]
    assert {"Apply", "Prove", "Switch"} <= {step["step"] for step in steps}
    assert counted(sdk[1], "slipway.conversions")[("done",)] >= 1
    slipway.teardown.run()
    assert named(spans, "teardown").attributes == {"decision": "Stay"}


def test_a_span_that_an_error_leaves_says_so(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="broken"), telemetry.span("work"):
        raise ValueError("broken")
    failed = named(spans, "work")
    assert (failed.status.status_code, failed.status.description) == (trace.StatusCode.ERROR, "broken")
    assert [event.name for event in failed.events] == ["exception"]
    assert not trace.get_current_span().is_recording()


def test_a_line_of_the_log_is_json_with_the_fields_that_are_known() -> None:
    record = logging.LogRecord("deployer.uploads", logging.WARNING, __file__, 1, "%s refused", ("é\n",), None)
    record.__dict__.update(model="cats", stage="scan", other="hidden")
    text = telemetry.JsonLines().format(record)
    line = json.loads(text)
    assert "\n" not in text
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING", "logger": "deployer.uploads", "message": "é\n refused", "model": "cats", "stage": "scan",
    }  # fmt: skip


def test_an_exception_stands_in_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    assert "ValueError: broken" in json.loads(telemetry.JsonLines().format(record))["exception"]


def test_the_setting_has_the_log_written_to_standard_output() -> None:
    program = (
        "from deployer import telemetry\n"
        "telemetry.write_json_lines()\n"
        "telemetry.request_id.set('r-1')\n"
        "telemetry.logger('deployer.x').info('hello', extra={'model': 'cats'})\n"
        "telemetry.logger('deployer.x').debug('not this')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert (found["message"], found["model"], found["request_id"]) == ("hello", "cats", "r-1")


def test_what_is_deployed_has_no_sdk() -> None:
    pinned = (ROOT / "requirements.txt").read_text()
    assert "opentelemetry-api==" in pinned
    assert "opentelemetry-sdk" not in pinned
    loaded = "import sys, deployer.calls; print(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
