"""The triggers, nothing else: parse, call, answer. What they do stands in ``deployer``."""

import functools
import json
import logging

import azure.functions as func
from azurefunctions.extensions.bindings import blob

from deployer import __version__, http, routes, telemetry
from deployer.settings import Settings
from deployer.wiring import MODELS, Application, from_environment

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
settings = Settings()
if settings.telemetry.json_logs:
    telemetry.write_json_lines()
logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)


@functools.cache
def application() -> Application:
    """The use cases of this process, put together on the first call."""
    return from_environment(settings)


@app.blob_trigger(
    arg_name="client", path="models/{name}", connection="AzureWebJobsStorage", source=func.BlobSource.EVENT_GRID
)
def model_uploaded(client: blob.BlobClient) -> None:
    """Takes one upload through to a published version."""
    application().uploads.take(client.blob_name)


@app.queue_trigger(arg_name="message", queue_name="rollouts", connection="AzureWebJobsStorage")
def advance_rollout(message: func.QueueMessage) -> None:
    """Performs one bounded step of one model's rollout, or looks at a conversion that runs as a Job.

    A message about a rollout that comes again may have been followed by another.
    """
    match json.loads(message.get_body()):
        case {"model": model, "job": job}:
            application().uploads.look(model, job)
        case {"model": model, "chain": chain} if message.dequeue_count == 1:
            application().rollouts.advance(model, chain)
        case {"model": model}:
            application().rollouts.advance(model)


@app.queue_trigger(arg_name="message", queue_name="webjobs-blobtrigger-poison", connection="AzureWebJobsStorage")
def upload_given_up(message: func.QueueMessage) -> None:
    """The platform gave up on an upload: its state says so."""
    told = json.loads(message.get_body())
    if told["ContainerName"] == MODELS:  # the queue is the account's
        application().uploads.given_up(told["BlobName"])


@app.queue_trigger(arg_name="message", queue_name="rollouts-poison", connection="AzureWebJobsStorage")
def rollout_given_up(message: func.QueueMessage) -> None:
    """The platform gave up on a rollout: it is asked for again, after a while. A Job is looked at by the sweep."""
    told = json.loads(message.get_body())
    if "job" not in told:
        application().retries.rollout_given_up(told["model"])


@app.queue_trigger(arg_name="message", queue_name="operations", connection="AzureWebJobsStorage")
async def perform_operation(message: func.QueueMessage) -> None:
    """One look at a prediction that somebody asked for with Prefer: respond-async."""
    await application().calls.perform(json.loads(message.get_body())["operation"])


@app.timer_trigger(arg_name="timer", schedule=settings.schedule.sweep)
def sweep(timer: func.TimerRequest) -> None:
    """Finds what events missed."""
    try:
        application().sweep.run()
    finally:
        application().deferred.sweep()


@app.timer_trigger(arg_name="timer", schedule=settings.schedule.teardown)
def teardown_idle(timer: func.TimerRequest) -> None:
    """Decides on and performs the idle ladder."""
    application().teardown.run()


@app.route("classify/{model}", methods=["POST"])
async def classify(req: func.HttpRequest) -> func.HttpResponse:
    """Image in, named classes out."""
    request = _request(req, "model")
    return _response(await http.guarded_async(request, lambda: application().calls.classify(request)))


@app.route("v1/models/{*path}", methods=["GET", "POST"])
async def predict(req: func.HttpRequest) -> func.HttpResponse:
    """TensorFlow Serving's REST API, as it is."""
    request = _request(req)
    return _response(await http.guarded_async(request, lambda: application().calls.predict(request)))


@app.route("operations/{*path}", methods=["GET"])
async def operations(req: func.HttpRequest) -> func.HttpResponse:
    """What became of a prediction that was asked for with Prefer: respond-async."""
    request = _request(req)
    return _response(await http.guarded_async(request, lambda: application().calls.operation(request)))


@app.route("keyed/{*path}", methods=["GET", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def keyed(req: func.HttpRequest) -> func.HttpResponse:
    """Predictions for who has a key of the model: open at the host, as it knows no such keys; checked by the app itself."""
    request = _request(req)
    return _response(await http.guarded_async(request, lambda: application().calls.keyed(request)))


@app.route("keys/{*path}", methods=["GET", "POST", "DELETE"])
def keys(req: func.HttpRequest) -> func.HttpResponse:
    """The keys of single models."""
    request = _request(req)
    return _response(http.guarded(request, lambda: routes.keys(application().keys, request)))


@app.route("models/{*path}", methods=["GET", "POST", "DELETE"])
def models(req: func.HttpRequest) -> func.HttpResponse:
    """The models, or one of them; POST retries what was given up or goes back to a version, DELETE removes."""
    request = _request(req)
    return _response(http.guarded(request, lambda: routes.models(application().control, request)))


@app.route("openapi.json", methods=["GET"])
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """The API, described for machines."""
    return _response(http.guarded(_request(req), lambda: routes.openapi(application().control)))


@app.route("doctor/{*path}", methods=["GET", "POST"])
def doctor(req: func.HttpRequest) -> func.HttpResponse:
    """What is wrong with the app's surroundings; POST makes lost records anew."""
    request = _request(req)
    return _response(http.guarded(request, lambda: routes.doctor(application().doctor, request)))


@app.route("cluster/{*path}", methods=["GET", "POST"])
def cluster(req: func.HttpRequest) -> func.HttpResponse:
    """The cluster and its plan; POST wakes it, puts it to sleep or holds it as it is."""
    request = _request(req)
    return _response(http.guarded(request, lambda: routes.cluster(application().control, request)))


@app.route("ledger", methods=["GET"])
def ledger(req: func.HttpRequest) -> func.HttpResponse:
    """What ran, who changed it and why, and what it cost."""
    request = _request(req)
    return _response(http.guarded(request, lambda: routes.ledger(application().control, request)))


@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Liveness of the app itself."""
    return _response(http.guarded(_request(req), lambda: http.reply({"status": "ok", "version": __version__})))


def _request(req: func.HttpRequest, left_open: str = "path") -> http.Request:
    return http.Request(req.method, req.route_params.get(left_open) or "", req.headers, req.params, req.get_body())


def _response(reply: http.Reply) -> func.HttpResponse:
    return func.HttpResponse(reply.body, status_code=reply.status, headers=reply.headers)
