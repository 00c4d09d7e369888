"""What keeps an app from running: each is said clearly, with exit status 1, before anything is served."""

import json
from pathlib import Path

import pytest

from localcloud.functions_host import host_json
from localcloud.functions_host.errors import HostJsonError
from localcloud.functions_host.host_json import BlobOptions
from localcloud.functions_host.keys import host_id
from tests.hosts import StartHost

ROUTE = """
@app.route(route="x")
def f(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("")
"""
BAD_APPS = {
    "an import that fails": ("import no_such_module", ["function_app.py cannot be imported", "No module named 'no_such_module'"]),
    "an error at the top level": ("1 / 0", ["ZeroDivisionError", "1 / 0"]),
    "no app": ("del app", ["has no azure.functions.FunctionApp"]),
    "two apps": ("other = func.FunctionApp()", ["more than one azure.functions.FunctionApp"]),
    "the same name twice": (ROUTE + ROUTE.replace('"x"', '"y"'), ["does not have a unique"]),
    "a missing setting": (
        ROUTE.replace('@app.route(route="x")', '@app.timer_trigger(arg_name="req", schedule="%SLIPWAY_SCHEDULE%")'),
        ["names the app setting %SLIPWAY_SCHEDULE%, which is not set"],
    ),
    "no schedule": (
        '@app.timer_trigger(arg_name="t", schedule="soon")\ndef f(t: func.TimerRequest): pass',
        ["the schedule 'soon' is not NCRONTAB"],
    ),
    "a missing connection": (
        '@app.queue_trigger(arg_name="m", queue_name="q", connection="Other")\ndef f(m: func.QueueMessage): pass',
        ["uses the connection 'Other', and no app setting"],
    ),
    "an identity-based connection": (
        'os.environ["Other__queueServiceUri"] = "https://x"\n'
        '@app.queue_trigger(arg_name="m", queue_name="q", connection="Other")\ndef f(m: func.QueueMessage): pass',
        ["which is identity-based", "set Other to a connection string"],
    ),
    "a parameter that no binding provides": (
        ROUTE.replace("req: func", "request: func"),
        ["takes the parameters ['request']", "bindings provide ['req']"],
    ),
    "a context that is none": (
        ROUTE.replace("req: func.HttpRequest", "req: func.HttpRequest, context: dict"),
        ["parameter 'context' must be annotated as azure.functions.Context"],
    ),
    "an annotation that does not fit": (ROUTE.replace("req: func.HttpRequest", "req: func.TimerRequest"), ["is annotated as"]),
    "a result that is no type": (
        ROUTE.replace("-> func.HttpResponse", "-> func.HttpResponse | None"),
        ["must be annotated to return"],
    ),
    "a binding that is not provided": (
        '@app.queue_output(arg_name="out", queue_name="q", connection="AzureWebJobsStorage")' + ROUTE,
        ["has a binding 'out' of type 'queue'", "It provides httpTrigger"],
    ),
    "a trigger that is not provided": (
        '@app.event_grid_trigger(arg_name="e")\ndef f(e: func.EventGridEvent): pass',
        ["has a trigger of type 'eventGridTrigger'"],
    ),
    "a retry policy": (
        '@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")' + ROUTE,
        ["declares a retry policy"],
    ),
    "a route that cannot be read": (ROUTE.replace('"x"', '"x/{y"'), ["of its route cannot be read"]),
    "a container in braces": (
        '@app.blob_trigger(arg_name="b", path="{c}/{name}", connection="AzureWebJobsStorage")\ndef f(b: func.InputStream): pass',
        ["does not begin with a container's name"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("problem", BAD_APPS)
async def test_an_app_that_cannot_run_is_refused_with_the_reason(start_host: StartHost, problem: str) -> None:
    source, reasons = BAD_APPS[problem]
    host = await start_host(source, wait=False)
    assert await host.process.wait() == 1
    for reason in ["The Functions host cannot start.", *reasons]:
        assert reason in host.log
    assert not (host.folder / "ready.json").exists()


async def test_a_host_json_that_is_no_json_ends_the_host_with_the_place(start_host: StartHost) -> None:
    host = await start_host(ROUTE)
    await host.stop()
    path = host.folder / "app" / "host.json"
    path.write_text('{"version": "2.0",}')
    again = await start_host(wait=False)
    assert await again.process.wait() == 1
    assert f"The Functions host cannot start. {path} is not JSON" in again.log
    assert "line 1 column" in again.log


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no"),
        ([], "must hold a JSON object"),
        ({}, '"version" must be "2.0"'),
        ({"version": "1.0"}, '"version" must be "2.0"'),
        ({"version": "2.0", "extensions": []}, "extensions is \\[\\]; expected an object"),
        (
            {"version": "2.0", "functionTimeout": "5 minutes"},
            'functionTimeout is .*; expected a time span such as "00:05:00"',
        ),
        (
            {"version": "2.0", "extensions": {"queues": {"batchSize": 33}}},
            "extensions.queues.batchSize is 33; .*at most 32",
        ),
        ({"version": "2.0", "extensions": {"queues": {"batchSize": True}}}, "expected a whole number"),
        ({"version": "2.0", "extensions": {"queues": {"messageEncoding": "hex"}}}, "expected .base64. or .none."),
        ({"version": "2.0", "extensions": {"blobs": {"maxDegreeOfParallelism": 0}}}, "at least 1"),
        ({"version": "2.0", "functions": "all"}, "expected a list of function names"),
    ],
)
def test_a_host_json_with_a_wrong_value_names_it(tmp_path: Path, content: object, message: str) -> None:
    if content is not None:
        (tmp_path / "host.json").write_text(json.dumps(content))
    with pytest.raises(HostJsonError, match=message):
        host_json.load(tmp_path, {})


def test_host_json_has_azures_defaults_and_settings_override_it(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(
        json.dumps({"version": "2.0", "functionTimeout": "1.02:03:04", "extensions": {"HTTP": {"RoutePrefix": "/x/"}}})
    )
    read = host_json.load(tmp_path, {})
    assert (read.queues.batch_size, read.queues.max_dequeue_count, read.queues.max_polling_interval) == (16, 5, 60)
    assert (read.queues.encoding, read.blobs.poison_blob_threshold) == ("base64", 5)
    assert (read.http.route_prefix, read.http.max_outstanding_requests) == ("x", None)
    assert read.function_timeout == ((24 + 2) * 60 + 3) * 60 + 4
    override = {
        "AzureFunctionsJobHost__functionTimeout": "-1",
        "AzureFunctionsJobHost__extensions__queues__batchSize": "4",
        "AzureFunctionsJobHost__logging__logLevel__default": "Warning",
    }
    overridden = host_json.load(tmp_path, override)
    assert (overridden.function_timeout, overridden.queues.batch_size) == (None, 4)
    assert overridden.log_levels == {"default": "Warning"}


@pytest.mark.parametrize(
    ("parallelism", "batch", "threshold"),
    [(100, 32, 68), (64, 32, 32), (63, 32, 31), (16, 9, 7), (3, 2, 1), (2, 2, 0), (1, 1, 0)],
)
def test_parallelism_of_blobs_is_split_as_the_extension_splits_it(parallelism: int, batch: int, threshold: int) -> None:
    """The figures are those of the extension's own test of its conversion."""
    options = BlobOptions(max_degree_of_parallelism=parallelism).queue_options()
    assert (options.batch_size, options.new_batch_threshold) == (batch, threshold)


def test_a_host_id_is_fit_for_a_queue_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "Some_Very-Long.Machine Name of a Laptop.local")
    made = host_id(Path("/home/user/app"))
    assert made == host_id(Path("/home/user/app"))
    assert len(made) <= 32
    assert made == made.lower().strip("-")


async def test_functions_that_host_json_does_not_list_are_left_out(start_host: StartHost) -> None:
    host = await start_host(
        ROUTE + ROUTE.replace("def f", "def g").replace('"x"', '"y"'), host_json={"functions": ["g"]}
    )
    assert "g: [*]" in host.log
    assert "f: [*]" not in host.log
