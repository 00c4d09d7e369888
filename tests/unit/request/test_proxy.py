"""A classification through the proxy, with a real HTTP server in the place of TensorFlow Serving."""

import asyncio
import base64
import json
import math

import pytest
from aiohttp import web

from deployer.activity import last_requests
from deployer.errors import BadRequest, NotFound, SlipwayError, Unavailable, Waking
from deployer.record import UploadStatus
from deployer.request import Answer
from tests.unit.request.proxied import IMAGE, SETTINGS, ModelServer, Slipway, answering, until


async def test_an_image_becomes_named_classes_of_the_version_that_serves(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(server.address, number=3)
    answer = await slipway.ask(top=1)
    assert answer == Answer("cats", 3, [[{"label": "lynx", "score": 0.9}]])
    ((path, body),) = server.asked
    assert path == "/v1/models/cats/versions/3:predict"
    assert body == {
        "signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": base64.b64encode(IMAGE).decode()}]}
    }  # fmt: skip


async def test_several_images_go_in_one_request(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(server.address)
    answer = await slipway.ask(3)
    assert [len(classes) for classes in answer.predictions] == [2, 2, 2]
    assert len(server.asked) == 1


async def test_a_request_is_noted_as_activity(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(server.address)
    await slipway.ask()
    await until(lambda: bool(last_requests(slipway.documents)))
    assert last_requests(slipway.documents).keys() == {"cats"}


async def test_a_known_route_costs_no_look_at_storage(server: ModelServer) -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"route_cache_seconds": 3600}))
    slipway.serve(server.address)
    for _ in range(5):
        await slipway.ask()
    await slipway.proxy.close()
    reads = [effect for effect in slipway.world.effects if effect.subject == "models/cats.json"]
    assert [effect.name for effect in reads] == ["documents.read", "documents.write", "documents.read"]


async def test_an_unknown_model_is_told(slipway: Slipway) -> None:
    with pytest.raises(NotFound) as refused:
        await slipway.ask()
    assert refused.value.code == "unknown_model"


async def test_a_model_whose_uploads_were_all_refused_says_why(slipway: Slipway) -> None:
    upload = UploadStatus(
        blob="cats.keras", etag="1", fingerprint="f", state="failed", at=slipway.world.now, reason="It is no model.",
        hint="Save it again.",
    )  # fmt: skip
    slipway.state.change("cats", lambda record: record.but(upload=upload))
    with pytest.raises(NotFound, match="has no version that serves: It is no model") as refused:
        await slipway.ask()
    assert (refused.value.code, refused.value.hint) == ("no_version", "Save it again.")


async def test_a_model_that_is_no_classifier_says_what_it_needs(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(server.address, signatures={"serving_default": {}})
    with pytest.raises(BadRequest, match="only serving_default") as refused:
        await slipway.ask()
    assert (refused.value.code, refused.value.status) == ("no_classifier", 409)
    assert "cats.labels.txt" in refused.value.hint
    assert server.asked == []


async def test_a_sleeping_model_is_woken_and_the_caller_told_when_to_come_back(slipway: Slipway) -> None:
    slipway.serve(None, asleep=True)
    with pytest.raises(Waking) as waking:
        await slipway.ask()
    assert (waking.value.eta_seconds, waking.value.stage, waking.value.status) == (60, "queued", 503)
    assert not slipway.state.model("cats").asleep
    assert [message.model for message in slipway.queue.messages] == ["cats"]


async def test_a_second_request_does_not_wake_again(slipway: Slipway) -> None:
    slipway.serve(None, asleep=True)
    for _ in range(3):
        with pytest.raises(Waking):
            await slipway.ask()
    assert len(slipway.queue.messages) == 1


async def test_a_request_may_wait_for_the_wake(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(None, asleep=True)
    asked = asyncio.create_task(slipway.ask(hold=15))
    await until(lambda: not slipway.state.model("cats").asleep)
    slipway.serve(server.address)
    assert (await asked).version == 1


async def test_a_wait_ends_at_the_bound_of_the_settings() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"hold_seconds": 0.2}))
    slipway.serve(None, asleep=True)
    async with asyncio.timeout(10):
        with pytest.raises(Waking):
            await slipway.ask(hold=3600)
    await slipway.proxy.close()


async def test_a_lost_server_outside_a_rollout_is_told(slipway: Slipway) -> None:
    async with ModelServer(answering) as gone:
        slipway.serve(gone.address)
    with pytest.raises(Unavailable, match="does not answer at") as lost:
        await slipway.ask()
    assert (lost.value.code, lost.value.status) == ("model_server", 503)


async def test_a_route_that_changed_meanwhile_is_followed_at_once(server: ModelServer) -> None:
    """The old version's server has gone; the route in this process's cache is old."""
    slipway = Slipway(SETTINGS.model_copy(update={"route_cache_seconds": 3600}))
    async with ModelServer(answering) as old:
        slipway.serve(old.address)
        assert (await slipway.ask()).version == 1
    slipway.serve(server.address, number=2)
    assert (await slipway.ask()).version == 2
    await slipway.proxy.close()


async def test_during_a_replacement_a_request_waits_for_the_new_version(slipway: Slipway, server: ModelServer) -> None:
    async with ModelServer(answering) as gone:
        slipway.serve(gone.address, rollout=slipway.rolling(2))
    asked = asyncio.create_task(slipway.ask())
    await asyncio.sleep(0.7)
    assert not asked.done()
    slipway.serve(server.address, number=2, rollout=None)
    assert (await asked).version == 2


async def test_a_replacement_that_never_ends_does_not_hold_requests_for_ever() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"timeout_seconds": 0.6}))
    async with ModelServer(answering) as gone:
        slipway.serve(gone.address, rollout=slipway.rolling(2))
    async with asyncio.timeout(20):
        with pytest.raises(Unavailable, match="does not answer"):
            await slipway.ask()
    await slipway.proxy.close()


async def test_a_server_that_goes_away_in_the_middle_is_asked_again(slipway: Slipway) -> None:
    asked: list[str] = []

    async def once_cut(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if len(asked) == 1:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return await answering(request)

    async with ModelServer(once_cut) as server:
        slipway.serve(server.address)
        assert (await slipway.ask()).version == 1
    assert len(asked) == 2


@pytest.mark.parametrize(
    "message",
    [
        "Unknown image file format. One of JPEG, PNG, GIF, BMP required.\n\t [[{{node DecodeImage}}]]",
        "Invalid PNG data, size 16",
        "{{function_node __inference}} Expected image (JPEG, PNG, or GIF), got empty file [Op:decode_image]",
    ],
)
async def test_an_image_that_cannot_be_decoded_is_the_callers_fault(slipway: Slipway, message: str) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": message}, status=400)

    async with ModelServer(refuse) as server:
        slipway.serve(server.address)
        with pytest.raises(BadRequest) as refused:
            await slipway.ask()
    assert (refused.value.code, refused.value.status) == ("bad_image", 400)


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ("undecodable_image_2/DecodeImage", "images[2] could not be decoded"),
        ("undecodable_image_15_or_later/DecodeImage", "images[15] or one after it could not be decoded"),
    ],
)
async def test_the_image_that_cannot_be_decoded_is_named(slipway: Slipway, node: str, told: str) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": f"Invalid PNG data, size 16\n\t [[{{{{node map/{node}}}}}]]"}, status=400)

    async with ModelServer(refuse) as server:
        slipway.serve(server.address)
        with pytest.raises(BadRequest) as refused:
            await slipway.ask()
    assert refused.value.message.startswith(told)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, b'{"error": "GPU fell off the bus"}', "answered 500: GPU fell off the bus"),
        (404, b'{"error": "Servable not found for request: Specific(cats, 1)"}', "answered 404: Servable not found"),
        (400, b'{"error": "input is too large"}', "answered 400: input is too large"),
        (502, b"<html>bad</html>", "answered 502: <html>bad</html>"),
        (500, b"[]", "answered 500: []"),
        (500, b"\xff\xfe", "answered 500"),
    ],
)
async def test_the_servers_own_words_are_passed_on(slipway: Slipway, status: int, body: bytes, told: str) -> None:
    async def fail(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    async with ModelServer(fail) as server:
        slipway.serve(server.address)
        with pytest.raises(SlipwayError) as failed:
            await slipway.ask()
    assert (failed.value.code, failed.value.status) == ("model_server_error", 502)
    assert told in failed.value.message


@pytest.mark.parametrize(
    "body", [b"", b"not JSON", json.dumps({"predictions": []}).encode(), b'{"outputs": {"labels": [[]]}}']
)
async def test_an_answer_that_is_none_is_an_error_of_the_server(slipway: Slipway, body: bytes) -> None:
    async def nonsense(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with ModelServer(nonsense) as server:
        slipway.serve(server.address)
        with pytest.raises(SlipwayError) as failed:
            await slipway.ask()
    assert (failed.value.code, failed.value.status) == ("model_server_error", 502)


async def test_scores_that_are_no_numbers_are_passed_on(slipway: Slipway) -> None:
    """TensorFlow Serving writes NaN into its JSON."""

    async def unsure(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"outputs": {"labels": [["lynx"]], "scores": [[NaN]]}}')

    async with ModelServer(unsure) as server:
        slipway.serve(server.address)
        ((found,),) = (await slipway.ask()).predictions
    assert found["label"] == "lynx" and math.isnan(found["score"])


async def test_a_server_that_takes_too_long_is_a_gateway_timeout() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"timeout_seconds": 0.2}))
    release = asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with ModelServer(slow) as server:
        slipway.serve(server.address)
        with pytest.raises(Unavailable) as late:
            await slipway.ask()
        release.set()
    await slipway.proxy.close()
    assert (late.value.code, late.value.status) == ("timeout", 504)


async def test_many_requests_at_once_are_all_answered(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(server.address)
    answers = await asyncio.gather(*(slipway.ask() for _ in range(50)))
    assert {answer.version for answer in answers} == {1}
    assert len(server.asked) == 50
