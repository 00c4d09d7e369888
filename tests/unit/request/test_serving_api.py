"""TensorFlow Serving's REST API through the proxy: its paths, its words, its answers untouched."""

import asyncio
import gzip
import json

import pytest
from aiohttp import web

from deployer.errors import BadRequest, NotFound, TryLater, Unavailable, Waking
from deployer.http import Request, predict
from deployer.request import serving_call
from deployer.settings import ProxySettings
from tests.unit.request.proxied import ModelServer, Slipway, answering

BODY = b'{"instances": [1.0]}'


async def echo(request: web.Request) -> web.StreamResponse:
    """What was asked, as the answer."""
    seen = {"method": request.method, "path": request.path_qs, "body": (await request.read()).decode("latin-1")}
    return web.json_response({**seen, "headers": {name.lower(): value for name, value in request.headers.items()}})


class Raw(ModelServer):
    """Reads no JSON."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, None))
        return await self.handler(request)


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("POST", "cats:predict", "/v1/models/cats/versions/1:predict"),
        ("POST", "cats:Classify", "/v1/models/cats/versions/1:classify"),
        ("POST", "cats/versions/1:regress", "/v1/models/cats/versions/1:regress"),
        ("POST", "cats/VERSIONS/0001:predict", "/v1/models/cats/versions/1:predict"),
        ("POST", "cats/labels/stable:predict", "/v1/models/cats/versions/1:predict"),
        ("POST", "cats/labels/canary:predict", "/v1/models/cats/versions/2:predict"),
        ("POST", "cats/versions/2:predict", "/v1/models/cats/versions/2:predict"),
        ("GET", "cats", "/v1/models/cats/versions/1"),
        ("GET", "cats/metadata", "/v1/models/cats/versions/1/metadata"),
        ("GET", "cats/versions/2/metadata", "/v1/models/cats/versions/2/metadata"),
        ("GET", "cats/labels/stable", "/v1/models/cats/versions/1"),
    ],
)
async def test_each_question_reaches_the_version_it_means(slipway: Slipway, method: str, path: str, sent: str) -> None:
    async with Raw(echo) as server:
        slipway.serve(server.address)
        slipway.try_canary(2, server.address, 0)
        found = await slipway.relay(method, path, BODY)
    seen = json.loads(found.response.body)
    assert (seen["method"], seen["path"]) == (method, sent)
    assert seen["body"] == (BODY.decode() if method == "POST" else "")
    assert found.version == int(sent.removeprefix("/v1/models/cats/versions/")[0])


@pytest.mark.parametrize("path", ["cats:predict", "cats/labels/stable:predict"])
async def test_who_asks_for_what_serves_gets_what_serves_by_then(path: str, slipway: Slipway) -> None:
    async with Raw(echo) as gone:
        slipway.serve(gone.address, rollout=slipway.rolling(2))
    async with Raw(echo) as server:
        asked = asyncio.create_task(slipway.relay("POST", path, BODY))
        await asyncio.sleep(
            0.7
        )  # it has met the one that is gone; were it not yet so, it would be answered all the same
        slipway.serve(server.address, number=2, rollout=None)
        assert (await asked).version == 2


async def test_headers_that_belong_to_the_body_are_passed_on_and_keys_are_not(slipway: Slipway) -> None:
    async with Raw(echo) as server:
        slipway.serve(server.address)
        found = await slipway.relay(
            "POST", "cats:predict", BODY, content_type="application/json", accept_encoding="gzip", x_functions_key="secret",
            cookie="a=b", authorization="Bearer x",
        )  # fmt: skip
    headers = json.loads(found.response.body)["headers"]
    assert headers.keys() == {"host", "content-type", "accept-encoding", "content-length"}
    assert headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{ "error": "JSON Parse error: Invalid value. at offset: 0" }'),
        (404, b""),
        (500, b"\xff"),
        (200, b"[NaN]"),
    ],
)
async def test_status_and_body_are_not_touched(slipway: Slipway, status: int, body: bytes) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type="application/x-own")

    async with Raw(answer) as server:
        slipway.serve(server.address)
        reply = await predict(slipway.proxy, Request("POST", "cats:predict", {}, {}, BODY), ProxySettings())
    assert (reply.status, reply.body) == (status, body)
    assert reply.headers == {"content-type": "application/x-own", "x-slipway-model-version": "1"}


async def test_a_compressed_answer_stays_compressed(slipway: Slipway) -> None:
    packed = gzip.compress(BODY)

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    async with Raw(answer) as server:
        slipway.serve(server.address)
        reply = await predict(slipway.proxy, Request("POST", "cats:predict", {}, {}, BODY), ProxySettings())
    assert (reply.body, reply.headers["content-encoding"]) == (packed, "gzip")


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "cats", "Malformed request: POST /v1/models/cats"),
        ("POST", "cats:explain", "Malformed request: POST /v1/models/cats:explain"),
        ("GET", "cats:predict", "Malformed request: GET /v1/models/cats:predict"),
        ("GET", "cats/versions/x", "Malformed request: GET /v1/models/cats/versions/x"),
        ("GET", "cats/versions/٣", "Malformed request: GET"),
        ("GET", "cats/metadata/", "Malformed request: GET /v1/models/cats/metadata/"),
        ("POST", "a/b:predict", "Malformed request: POST /v1/models/a/b:predict"),
        ("GET", "", "Missing model name in request."),
        ("POST", "", "Malformed request: POST /v1/models/"),
        ("GET", "cats/versions/18446744073709551616", "Failed to convert version: 18446744073709551616"),
        ("GET", f"cats/versions/{'9' * 5000}", "Failed to convert version: 9999"),
    ],
)
def test_what_is_no_question_is_refused_in_tensorflow_servings_words(method: str, path: str, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        serving_call(method, path, {}, b"")
    assert refused.value.status == 400
    assert refused.value.message.startswith(words)
    assert len(refused.value.message) < 300


async def test_unknown_models_labels_and_versions_are_told(slipway: Slipway, server: ModelServer) -> None:
    with pytest.raises(NotFound, match=r"Servable not found for request: Latest\(cats\)"):
        await slipway.relay("POST", "cats:predict", BODY)
    slipway.serve(server.address)
    for label in ("canary", "other"):
        with pytest.raises(BadRequest, match=f"Unrecognized servable version label: {label}"):
            await slipway.relay("POST", f"cats/labels/{label}:predict", BODY)
    with pytest.raises(NotFound) as unknown:
        await slipway.relay("POST", "cats/versions/7:predict", BODY)
    assert unknown.value.code == "unknown_version"


async def test_slipways_own_errors_are_text_where_tensorflow_servings_are(slipway: Slipway) -> None:
    slipway.serve(None, asleep=True)
    reply = await predict(slipway.proxy, Request("POST", "cats:predict", {}, {}, BODY), ProxySettings())
    document = json.loads(reply.body)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "60")
    assert document["error"] == document["slipway"]["message"]
    assert document["slipway"]["code"] == "waking"
    assert document["slipway"]["eta_seconds"] == 60


async def test_a_body_beyond_the_bound_is_refused(slipway: Slipway) -> None:
    large = Request("POST", "cats:predict", {}, {}, bytes((1 << 20) + 1))
    reply = await predict(slipway.proxy, large, ProxySettings(max_body_mb=1))
    assert (reply.status, json.loads(reply.body)["slipway"]["code"]) == (413, "too_large")


async def test_a_prediction_wakes_a_model_and_a_look_at_its_status_does_not(slipway: Slipway) -> None:
    slipway.serve(None, asleep=True)
    for path in ("cats", "cats/metadata"):
        with pytest.raises(TryLater) as asleep:
            await slipway.relay("GET", path)
        assert asleep.value.code == "asleep"
    assert slipway.state.model("cats").asleep
    with pytest.raises(Waking):
        await slipway.relay("POST", "cats:predict", BODY)
    assert not slipway.state.model("cats").asleep


async def test_a_look_at_status_keeps_no_model_awake(slipway: Slipway) -> None:
    async with Raw(echo) as server:
        slipway.serve(server.address)
        await slipway.relay("GET", "cats")
    assert slipway.proxy._notes._pending is None
    with pytest.raises(Unavailable, match="does not answer"):
        await slipway.relay("GET", "cats")


async def test_a_classifier_is_asked_by_tensorflow_servings_clients_as_well(
    slipway: Slipway, server: ModelServer
) -> None:
    slipway.serve(server.address)
    document = {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": "AAAA"}]}}
    found = await slipway.relay("POST", "cats:predict", json.dumps(document).encode())
    assert json.loads(found.response.body)["outputs"]["labels"] == [["lynx", "cat"]]
    assert server.asked == [("/v1/models/cats/versions/1:predict", document)]
    assert answering is server.handler
