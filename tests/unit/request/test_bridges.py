"""Requests are answered by a model's bridge while its GPUs wake, and say so."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from deployer.errors import Waking
from deployer.http import Request, classify, predict
from deployer.record import Bridge
from tests.unit.request.proxied import IMAGE, SETTINGS, ModelServer, Slipway, answering


@pytest.fixture
async def cpu() -> AsyncIterator[ModelServer]:
    async with ModelServer(answering) as started:
        yield started


def asleep(slipway: Slipway, bridge: Bridge | None) -> None:
    slipway.serve(None, asleep=True, bridge=bridge)


async def test_a_sleeping_models_bridge_answers_and_the_model_wakes(slipway: Slipway, cpu: ModelServer) -> None:
    asleep(slipway, Bridge(version=1, address=cpu.address))
    for _ in range(3):
        answer = await classify(slipway.proxy, Request("POST", "cats", {}, {}, IMAGE), SETTINGS)
        assert answer.status == 200
        assert (answer.headers["x-slipway-served-by"], answer.headers["x-slipway-model-version"]) == ("cpu-bridge", "1")
    assert not slipway.state.model("cats").asleep
    assert [message.model for message in slipway.queue.messages] == ["cats"]
    body = b'{"inputs": {"image_bytes": [{"b64": "AAAA"}]}}'
    relayed = await predict(slipway.proxy, Request("POST", "cats:predict", {}, {}, body), SETTINGS)
    assert (relayed.status, relayed.headers["x-slipway-served-by"]) == (200, "cpu-bridge")


async def test_once_the_gpus_serve_the_bridge_is_asked_no_more(slipway: Slipway, cpu: ModelServer) -> None:
    async with ModelServer(answering) as gpu:
        slipway.serve(gpu.address, bridge=Bridge(version=1, address=cpu.address))
        answer = await classify(slipway.proxy, Request("POST", "cats", {}, {}, IMAGE), SETTINGS)
    assert "x-slipway-served-by" not in answer.headers
    assert (len(gpu.asked), cpu.asked) == (1, [])


async def test_one_that_is_not_proven_or_of_another_version_is_not_asked(slipway: Slipway, cpu: ModelServer) -> None:
    asleep(slipway, Bridge(version=1))
    with pytest.raises(Waking):
        await slipway.ask()
    slipway.state.change("cats", lambda record: record.but(bridge=Bridge(version=2, address=cpu.address)))
    with pytest.raises(Waking):
        await slipway.ask(version=1)
    assert cpu.asked == []


async def test_where_the_bridge_has_gone_the_caller_is_told_to_wait_as_without_one(slipway: Slipway) -> None:
    asleep(slipway, Bridge(version=1, address="http://127.0.0.1:9"))
    with pytest.raises(Waking):
        await slipway.ask()
    assert not slipway.state.model("cats").asleep


async def test_a_failing_bridge_passes_its_error_on(slipway: Slipway) -> None:
    async def failing(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "out of memory"}, status=500)

    async with ModelServer(failing) as broken:
        asleep(slipway, Bridge(version=1, address=broken.address))
        relayed = await predict(
            slipway.proxy, Request("POST", "cats:predict", {}, {}, b'{"inputs": {"image_bytes": ["a"]}}'), SETTINGS
        )
    assert (relayed.status, relayed.headers["x-slipway-served-by"]) == (500, "cpu-bridge")
