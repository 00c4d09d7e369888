"""What one instance holds in memory has bounds: bodies under way, whoever holds them, and answers of model servers."""

import asyncio
import json

import pytest
from aiohttp import web

from deployer.errors import SlipwayError, TryLater
from deployer.http import Request, classify, predict
from deployer.request.slots import Bodies
from tests.unit.request.proxied import IMAGE, SETTINGS, ModelServer, Slipway, answering, until

MIB = 1 << 20
SMALL = SETTINGS.model_copy(
    update={"max_in_flight_mb": 2, "max_body_mb": 1, "max_answer_mb": 1, "recovery_seconds": 30}
)
LARGE = IMAGE + bytes(MIB - len(IMAGE))


def test_bodies_are_counted_while_they_are_held_and_no_longer() -> None:
    bodies = Bodies(10)
    too_many = pytest.raises(TryLater, match="10 bytes of requests are under way")
    with bodies.one(6), bodies.one(4), bodies.one(0), too_many as refused, bodies.one(1):
        pass
    assert (refused.value.code, refused.value.status, refused.value.retry_after) == ("too_many_bytes", 429, 1)
    with pytest.raises(RuntimeError), bodies.one(10):
        raise RuntimeError
    with bodies.one(10):
        pass


@pytest.mark.parametrize("held", ["by a slow server", "for a wake"])
async def test_bodies_beyond_the_bound_are_refused_at_once_by_either_path(held: str) -> None:
    slipway = Slipway(SMALL)
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return await answering(request)

    request = Request("POST", "cats", {"prefer": "wait=15"}, {}, LARGE)
    async with ModelServer(slow) as server:
        if held == "for a wake":
            slipway.serve(None, asleep=True)
        else:
            slipway.serve(server.address)
        admitted = [asyncio.create_task(classify(slipway.proxy, request, SMALL)) for _ in range(2)]
        await until(lambda: slipway.proxy._bodies._held == 2 * MIB)
        with pytest.raises(TryLater) as refused:
            await classify(slipway.proxy, request, SMALL)
        other = await predict(slipway.proxy, Request("POST", "cats:predict", {}, {}, LARGE), SMALL)
        slipway.serve(server.address)
        release.set()
        assert {answer.status for answer in await asyncio.gather(*admitted)} == {200}
        assert (await classify(slipway.proxy, request, SMALL)).status == 200
    assert refused.value.status == 429
    assert (other.status, other.headers["Retry-After"]) == (429, "1")
    assert json.loads(other.body)["slipway"]["code"] == "too_many_bytes"
    await slipway.proxy.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_beyond_the_bound_is_not_read_to_its_end(chunked: bool) -> None:
    sent, ended = [0], asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={} if chunked else {"Content-Length": str(1 << 40)})
        await answer.prepare(request)
        try:
            while True:
                await answer.write(bytes(MIB))
                sent[0] += 1
        except ConnectionError:
            ended.set()
        return answer

    slipway = Slipway(SMALL)
    async with ModelServer(endless) as server:
        slipway.serve(server.address)
        with pytest.raises(SlipwayError, match="more than 1048576 bytes") as refused:
            await slipway.relay("POST", "cats:predict", b"{}")
        async with asyncio.timeout(30):
            await ended.wait()
    assert (refused.value.code, refused.value.status) == ("answer_too_large", 502)
    await slipway.proxy.close()


async def test_an_answer_of_just_the_bound_is_passed_on() -> None:
    async def much(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(bytes(MIB))
        return answer

    slipway = Slipway(SMALL)
    async with ModelServer(much) as server:
        slipway.serve(server.address)
        assert len((await slipway.relay("POST", "cats:predict", b"{}")).response.body) == MIB
    await slipway.proxy.close()


async def test_a_large_body_is_written_as_the_server_takes_it_and_arrives_whole() -> None:
    """With its length given, as TensorFlow Serving needs it, and no header that a small one has not."""
    seen: list[tuple[int, set[str]]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append((len(await request.read()), {name.lower() for name in request.headers}))
        assert request.content_length == seen[-1][0]
        return web.json_response({})

    class Raw(ModelServer):
        async def _handle(self, request: web.Request) -> web.StreamResponse:
            return await note(request)

    slipway = Slipway()
    async with Raw(answering) as server:
        slipway.serve(server.address)
        for size in (MIB, MIB + 1, 20 * MIB):
            await slipway.relay("POST", "cats:predict", bytes(size), content_type="application/json")
    assert [size for size, _ in seen] == [MIB, MIB + 1, 20 * MIB]
    assert all(names == {"host", "content-type", "content-length"} for _, names in seen)
    await slipway.proxy.close()


def test_connections_are_closed_with_the_loop_that_opened_them() -> None:
    """Nobody tells a function that its process ends."""

    async def ask() -> Slipway:
        slipway = Slipway()
        async with ModelServer(answering) as server:
            slipway.serve(server.address)
            await slipway.ask()
        return slipway

    with asyncio.Runner() as runner:
        slipway = runner.run(ask())
        sessions = slipway.proxy._connections._sessions
        assert sessions is not None and not sessions.pooled.closed
    assert sessions.pooled.closed and sessions.single.closed
