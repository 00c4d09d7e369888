"""The triggers, nothing else: parse, call, answer. What they do stands in ``deployer``."""

import functools
import json
import logging

import azure.functions as func
from azurefunctions.extensions.bindings import blob

from deployer import __version__, http
from deployer.errors import SlipwayError
from deployer.settings import Settings
from deployer.wiring import MODELS, Application, from_environment

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
settings = Settings()
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
    """Performs one bounded step of one model's rollout."""
    application().rollouts.advance(json.loads(message.get_body())["model"])


@app.queue_trigger(arg_name="message", queue_name="webjobs-blobtrigger-poison", connection="AzureWebJobsStorage")
def upload_given_up(message: func.QueueMessage) -> None:
    """The platform gave up on an upload: its state says so."""
    told = json.loads(message.get_body())
    if told["ContainerName"] == MODELS:  # the queue is the account's
        application().uploads.given_up(told["BlobName"])


@app.queue_trigger(arg_name="message", queue_name="rollouts-poison", connection="AzureWebJobsStorage")
def rollout_given_up(message: func.QueueMessage) -> None:
    """The platform gave up on a rollout: it is asked for again, after a while."""
    application().retries.rollout_given_up(json.loads(message.get_body())["model"])


@app.timer_trigger(arg_name="timer", schedule=settings.schedule.sweep)
def sweep(timer: func.TimerRequest) -> None:
    """Finds what events missed."""
    application().sweep.run()


@app.timer_trigger(arg_name="timer", schedule=settings.schedule.teardown)
def teardown_idle(timer: func.TimerRequest) -> None:
    """Decides on and performs the idle ladder."""
    application().teardown.run()


@app.route("classify/{model}", methods=["POST"])
async def classify(req: func.HttpRequest) -> func.HttpResponse:
    """Image in, named classes out."""
    try:
        asked = http.classify_request(
            req.headers, req.params, req.get_body(), max_bytes=settings.proxy.max_body_mb << 20
        )
        found = await application().proxy.classify(
            req.route_params["model"], asked.images, top=asked.top, hold_seconds=asked.hold_seconds
        )
    except SlipwayError as error:
        return _response(http.failure(error))
    except Exception:  # noqa: BLE001  (the boundary; logged with its traceback)
        return _response(http.unexpected())
    return _response(http.reply({"model": found.model, "version": found.version, "predictions": found.predictions}))


@app.route("models/{*path}", methods=["GET", "POST", "DELETE"])
def models(req: func.HttpRequest) -> func.HttpResponse:
    """The models, or one of them; POST retries what was given up or goes back to a version, DELETE removes."""
    path = req.route_params.get("path") or ""
    return _response(
        http.guarded(lambda: http.models(application().control, req.method, path, req.params, req.get_body()))
    )


@app.route("doctor/{*path}", methods=["GET", "POST"])
def doctor(req: func.HttpRequest) -> func.HttpResponse:
    """What is wrong with the app's surroundings; POST makes lost records anew."""
    path = req.route_params.get("path") or ""
    return _response(http.guarded(lambda: http.doctor(application().doctor, req.method, path)))


@app.route("cluster/{*path}", methods=["GET", "POST"])
def cluster(req: func.HttpRequest) -> func.HttpResponse:
    """The cluster and its plan; POST wakes it, puts it to sleep or holds it as it is."""
    path = req.route_params.get("path") or ""
    return _response(http.guarded(lambda: http.cluster(application().control, req.method, path, req.params)))


@app.route("ledger", methods=["GET"])
def ledger(req: func.HttpRequest) -> func.HttpResponse:
    """What ran, who changed it and why, and what it cost."""
    return _response(http.guarded(lambda: http.ledger(application().control, req.params)))


@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Liveness of the app itself."""
    return _response(http.reply({"status": "ok", "version": __version__}))


def _response(reply: http.Reply) -> func.HttpResponse:
    return func.HttpResponse(
        reply.body, status_code=reply.status, headers=dict(reply.headers), mimetype="application/json"
    )
