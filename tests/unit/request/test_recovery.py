"""A request whose server went waits for one that answers, and is sent once more; nobody is hammered meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from deployer.errors import NotFound, TryLater, Unavailable
from deployer.request.looks import Looks
from deployer.request.proxy import _SENDS
from tests.unit.request.proxied import SETTINGS, ModelServer, Slipway, answering, until

PATIENT = SETTINGS.model_copy(update={"recovery_seconds": 30, "timeout_seconds": 30})


@pytest.fixture
async def patient() -> AsyncIterator[Slipway]:
    made = Slipway(PATIENT)
    yield made
    await made.proxy.close()


@asynccontextmanager
async def gone() -> AsyncIterator[ModelServer]:
    """One that listened and does not any more; enter it for it to come back at the same port."""
    async with ModelServer(answering) as server:
        pass
    server.port = int(server.address.rpartition(":")[2])
    yield server


def cutting(times: int) -> tuple[list[str], Callable[[web.Request], Awaitable[web.StreamResponse]]]:
    """A handler that cuts the connection so often before it answers, and what it was asked."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if len(asked) <= times:
            assert request.transport is not None
            request.transport.abort()
        return await answering(request)

    return asked, handle


async def test_a_server_that_starts_anew_is_waited_for(patient: Slipway) -> None:
    async with gone() as server:
        patient.serve(server.address)
        asked = [asyncio.create_task(patient.ask()) for _ in range(20)]
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in asked)
        async with server:
            answers = await asyncio.gather(*asked)
    assert {answer.version for answer in answers} == {1}
    assert len(server.asked) == 20  # each once: those that were refused never reached it


async def test_one_that_listens_but_has_not_loaded_its_model_is_not_asked_again_yet(patient: Slipway) -> None:
    asked, handle = cutting(1)
    async with ModelServer(handle) as server:
        server.there = False
        patient.serve(server.address)
        request = asyncio.create_task(patient.ask())
        await until(lambda: server.looks >= 2)
        assert (len(asked), request.done()) == (1, False)
        server.there = True
        assert (await request).version == 1
    assert len(asked) == 2


async def test_a_request_that_was_cut_off_twice_is_not_sent_a_third_time(patient: Slipway) -> None:
    asked, handle = cutting(10)
    async with ModelServer(handle) as server:
        patient.serve(server.address, rollout=patient.rolling(2))  # not even while a rollout goes on
        with pytest.raises(Unavailable, match="does not answer at"):
            await patient.ask()
    assert len(asked) == _SENDS == 2


async def test_all_that_wait_share_the_looks_at_server_and_record(patient: Slipway) -> None:
    asked, handle = cutting(30)
    async with ModelServer(handle) as server:
        server.there = False
        patient.serve(server.address)
        requests = [asyncio.create_task(patient.ask()) for _ in range(30)]
        await until(lambda: server.looks >= 3)
        reads = [effect for effect in patient.world.effects if effect.name == "documents.read"]
        assert len(reads) < 60  # 30 for their routes, which are not cached here
        assert server.looks < 30
        assert len(asked) == 30
        server.there = True
        assert len(await asyncio.gather(*requests)) == 30


async def test_who_waits_follows_the_route_to_another_server(patient: Slipway, server: ModelServer) -> None:
    async with gone() as old:
        patient.serve(old.address, rollout=patient.rolling(2))
        request = asyncio.create_task(patient.ask())
        await asyncio.sleep(0.1)
        patient.serve(server.address, number=2, rollout=None)
        assert (await request).version == 2


async def test_a_server_that_does_not_come_back_is_told_of_after_the_bound() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"recovery_seconds": 0.7, "breaker_failures": 2}))
    async with gone() as server:
        slipway.serve(server.address)
        for _ in range(2):
            with pytest.raises(Unavailable, match="does not answer at"):
                await slipway.ask()
        with pytest.raises(TryLater) as refused:  # the next are told at once
            await slipway.ask()
    assert refused.value.code == "breaker_open"
    await slipway.proxy.close()


async def test_who_asks_to_wait_is_held_longer(server: ModelServer) -> None:
    slipway = Slipway(SETTINGS)  # whose requests do not wait by themselves
    async with gone() as old:
        slipway.serve(old.address)
        request = asyncio.create_task(slipway.ask(hold=15))
        await asyncio.sleep(0.8)
        assert not request.done()
        slipway.serve(server.address, number=2)
        assert (await request).version == 2
    await slipway.proxy.close()


async def test_a_model_removed_meanwhile_is_told_as_such(patient: Slipway) -> None:
    async with gone() as server:
        patient.serve(server.address)
        request = asyncio.create_task(patient.ask())
        await asyncio.sleep(0.1)
        patient.documents.remove("models/cats.json")
        with pytest.raises(NotFound):
            await request


async def test_looks_are_shared_and_none_is_used_that_began_too_early() -> None:
    """A look that was under way when somebody began to wait may not show what has changed since."""
    now, begun, ends = [0.0], [0], asyncio.Event()

    async def look(_key: str) -> int:
        begun[0] += 1
        number = begun[0]
        await ends.wait()
        return number

    looks: Looks[str, int] = Looks(look, lambda: now[0])
    early = asyncio.create_task(looks.since("a", 0.0))
    await asyncio.sleep(0)
    now[0] = 5.0
    late = [asyncio.create_task(looks.since("a", 5.0)) for _ in range(10)]
    await asyncio.sleep(0)
    ends.set()
    assert await early == 1
    assert await asyncio.gather(*late) == [2] * 10
    assert await looks.since("a", 4.0) == 2
    assert not looks.busy


async def test_a_look_that_fails_is_told_to_those_who_waited_for_it_and_not_remembered() -> None:
    fails = [True]

    async def look(_key: str) -> str:
        if fails[0]:
            raise NotFound("unknown_model", "gone")
        return "there"

    looks: Looks[str, str] = Looks(look, lambda: 1.0)
    for waiting in await asyncio.gather(*(looks.since("a", 1.0) for _ in range(3)), return_exceptions=True):
        assert isinstance(waiting, NotFound)
    fails[0] = False
    assert await looks.since("a", 1.0) == "there"
    assert looks.last("a") is not None
    looks.forget("a")
    assert looks.last("a") is None
