"""What the proxy does when servers fail, requests are many, and versions are tried beside each other."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from deployer.canary import Figures
from deployer.errors import BadRequest, NotFound, TryLater, Unavailable, Waking
from deployer.request.breaker import Breaker, Breakers
from deployer.request.slots import Slots
from tests.unit.request.proxied import SETTINGS, ModelServer, Slipway, answering, until


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, failures: int = 3) -> Breaker:
    breaker = Breaker("'cats' v1", 3, 5.0, clock)
    for _ in range(failures):
        breaker.admit()
        breaker.failed()
    return breaker


def test_a_breaker_opens_after_failures_in_a_row_and_says_when_to_come_back() -> None:
    clock = Clock()
    opened(clock, failures=2).admit()
    breaker = opened(clock)
    clock.now += 2.5
    with pytest.raises(TryLater, match="'cats' v1 failed 3 times in a row") as refused:
        breaker.admit()
    assert (refused.value.code, refused.value.status, refused.value.retry_after) == ("breaker_open", 503, 3)


def test_a_success_in_between_keeps_it_closed() -> None:
    breaker = opened(Clock(), failures=2)
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    breaker.admit()


def test_one_probe_goes_when_the_time_has_passed_and_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 5
    breaker.admit()
    with pytest.raises(TryLater):
        breaker.admit()
    breaker.succeeded()
    breaker.admit()
    breaker.admit()


def test_a_probe_that_fails_opens_it_again_and_one_that_is_never_heard_of_lets_another_follow() -> None:
    clock = Clock()
    breaker = opened(clock)
    for outcome in ("failed", "cancelled", "failed"):
        clock.now += 5
        breaker.admit()
        if outcome == "failed":
            breaker.failed()
        with pytest.raises(TryLater):
            breaker.admit()


def test_each_server_has_a_breaker_of_its_own_and_old_ones_are_forgotten() -> None:
    breakers = Breakers(1, 5.0, Clock())
    first = breakers.of("cats", 1, "http://a")
    first.failed()
    assert breakers.of("cats", 1, "http://a") is first
    for version, model in ((2, "cats"), (1, "dogs")):
        breakers.of(model, version, "http://a").admit()
    breakers.of("cats", 3, "http://a")
    breakers.of("cats", 1, "http://a").admit()


def test_slots_are_bounded_for_each_model_and_given_back() -> None:
    slots = Slots(2)
    with slots.one("cats"), slots.one("cats"):
        with pytest.raises(TryLater, match="'cats' has 2 requests under way") as refused, slots.one("cats"):
            pass
        with slots.one("dogs"):
            pass
    assert (refused.value.code, refused.value.status, refused.value.retry_after) == ("too_many_requests", 429, 1)
    with pytest.raises(RuntimeError), slots.one("cats"):
        raise RuntimeError
    with slots.one("cats"), slots.one("cats"):
        pass


async def test_requests_beyond_the_bound_are_refused_at_once_and_the_others_answered() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"max_concurrent": 3}))
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return await answering(request)

    async with ModelServer(slow) as server:
        slipway.serve(server.address)
        admitted = [asyncio.create_task(slipway.ask()) for _ in range(3)]
        await until(lambda: len(server.asked) == 3)
        with pytest.raises(TryLater) as refused:
            await slipway.ask()
        release.set()
        assert [answer.version for answer in await asyncio.gather(*admitted)] == [1, 1, 1]
        assert (await slipway.ask()).version == 1
    assert refused.value.status == 429
    await slipway.proxy.close()


async def test_a_server_that_cuts_requests_off_is_asked_twice_and_then_left_alone_for_a_while() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"breaker_failures": 2, "breaker_seconds": 60.0}))
    asked = 0

    async def cut(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with ModelServer(cut) as server:
        slipway.serve(server.address)
        for _ in range(2):
            with pytest.raises(Unavailable, match="does not answer"):
                await slipway.ask()
        assert asked == 4  # each request once more, on another connection
        for _ in range(3):
            with pytest.raises(TryLater) as refused:
                await slipway.ask()
        assert asked == 4
    assert refused.value.code == "breaker_open"
    async with ModelServer(answering) as other:  # another version has a clean slate
        slipway.serve(other.address, number=2)
        assert (await slipway.ask()).version == 2
    await slipway.proxy.close()


async def test_a_slow_server_is_not_asked_twice() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"timeout_seconds": 0.2}))
    release = asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with ModelServer(slow) as server:
        slipway.serve(server.address)
        with pytest.raises(Unavailable) as late:
            await slipway.ask()
        assert len(server.asked) == 1
        release.set()
    assert late.value.code == "timeout"
    await slipway.proxy.close()


async def test_a_pooled_connection_that_died_costs_no_answer(slipway: Slipway) -> None:
    """The server ended it while it was idle; the request goes on a connection of its own."""
    async with ModelServer(answering) as server:
        slipway.serve(server.address)
        await asyncio.gather(*(slipway.ask() for _ in range(5)))
        address = server.address
        await server._runner.cleanup()
        again = ModelServer(answering)
        again.port = int(address.rpartition(":")[2])
        async with again:
            answers = await asyncio.gather(*(slipway.ask() for _ in range(5)))
    assert {answer.version for answer in answers} == {1}


async def test_a_canary_gets_its_share_and_a_session_stays_on_its_side(slipway: Slipway, server: ModelServer) -> None:
    async with ModelServer(answering) as canary:
        slipway.serve(server.address)
        slipway.try_canary(2, canary.address, 30)
        drawn = Counter([(await slipway.ask()).version for _ in range(200)])
        assert 20 < drawn[2] < 110  # 60 expected; further off than one time in 10^9
        sides = {name: {(await slipway.ask(session=name)).version for _ in range(5)} for name in map(str, range(60))}
    assert {len(versions) for versions in sides.values()} == {1}
    assert {version for versions in sides.values() for version in versions} == {1, 2}


async def failing(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": "out of memory"}, status=500)


async def test_what_each_side_of_a_canary_answered_is_counted(slipway: Slipway) -> None:
    """For the trial's judgement; while no version is on trial nothing is counted."""
    async with ModelServer(answering) as stable, ModelServer(failing) as canary:
        slipway.serve(stable.address)
        await slipway.ask()
        slipway.try_canary(2, canary.address, 50)
        for number in range(12):
            assert (await slipway.ask(session=str(number))).version == 1
        counted: dict[int, Figures] = {}
        async with asyncio.timeout(30):
            while sum(found.requests for found in counted.values()) < len(stable.asked) - 1 + len(canary.asked):
                await asyncio.sleep(0.02)
                counted = slipway.state.figures("cats", slipway.world.now)
    assert counted == {
        1: Figures(len(stable.asked) - 1, 0), 2: Figures(len(canary.asked), len(canary.asked))
    }  # fmt: skip
    assert counted[1].requests and counted[2].requests


async def hanging(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise web.HTTPServiceUnavailable


async def hanging_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize("behaviour", [failing, hanging, hanging_up], ids=["fails", "hangs", "hangs-up"])
async def test_what_a_canary_fails_to_answer_the_version_that_serves_does(
    behaviour: Callable[[web.Request], Awaitable[web.StreamResponse]], server: ModelServer
) -> None:
    """However it fails, and also while its breaker is open; only who names it is told."""
    slipway = Slipway(SETTINGS.model_copy(update={"timeout_seconds": 0.3}))
    slipway.serve(server.address)
    async with ModelServer(behaviour) as canary:
        slipway.try_canary(2, canary.address, 100)
        answers = [(await slipway.ask()).version for _ in range(SETTINGS.breaker_failures + 2)]
        with pytest.raises((Unavailable, TryLater)):
            await slipway.ask(version=2)
        await slipway.proxy.close()
    assert set(answers) == {1}
    assert canary.asked


async def test_a_canary_that_is_gone_costs_its_callers_nothing(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(server.address)
    async with ModelServer(answering) as gone:
        slipway.try_canary(2, gone.address, 100)
        assert (await slipway.ask()).version == 2
    assert [(await slipway.ask()).version for _ in range(3)] == [1, 1, 1]
    await slipway.figures.written()
    assert slipway.state.figures("cats", slipway.world.now)[2] == Figures(4, 3)


@pytest.mark.parametrize("session", [None, "somebody"])
async def test_where_neither_side_of_a_canary_answers_callers_are_told_soon(
    session: str | None, slipway: Slipway
) -> None:
    """A request that the canary failed stays with the version that serves, and does not go to and fro."""
    async with ModelServer(answering) as gone:
        slipway.serve(gone.address)
    async with ModelServer(failing) as canary:
        slipway.try_canary(2, canary.address, 100)
        for _ in range(3):
            with pytest.raises((Unavailable, TryLater)):
                await slipway.ask(session=session)
        assert len(canary.asked) <= 3
    await slipway.figures.written()
    assert slipway.state.figures("cats", slipway.world.now)[2] == Figures(3, 3)


async def test_what_a_canary_cuts_off_takes_nothing_of_the_patience_with_the_version_that_serves(
    server: ModelServer,
) -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"recovery_seconds": 30, "timeout_seconds": 30}))
    async with ModelServer(answering) as restarting:
        slipway.serve(restarting.address)
    async with ModelServer(hanging_up) as canary:
        slipway.try_canary(2, canary.address, 100)
        asked = asyncio.create_task(slipway.ask())
        await until(lambda: bool(canary.asked))
        slipway.serve(server.address)
        assert (await asked).version == 1
    await slipway.proxy.close()


@pytest.mark.parametrize(("share", "version"), [(0, 1), (100, 2)])
async def test_a_share_of_nothing_or_all_is_just_that(
    slipway: Slipway, server: ModelServer, share: float, version: int
) -> None:
    slipway.serve(server.address)
    slipway.try_canary(2, server.address, share)
    assert {(await slipway.ask(session=str(number))).version for number in range(20)} == {version}
    assert (await slipway.ask()).version == version


async def test_a_version_may_be_asked_for_by_number_if_it_is_proven_and_runs(
    slipway: Slipway, server: ModelServer
) -> None:
    slipway.serve(server.address, number=1)
    slipway.serve(server.address, number=3)
    slipway.try_canary(4, server.address, 0)
    assert [(await slipway.ask(version=number)).version for number in (3, 4)] == [3, 4]
    with pytest.raises(BadRequest, match="v1 does not run; v3 and v4 does") as stopped:
        await slipway.ask(version=1)
    assert (stopped.value.code, stopped.value.status) == ("version_not_running", 409)
    with pytest.raises(NotFound) as unknown:
        await slipway.ask(version=9)
    assert unknown.value.code == "unknown_version"


async def test_only_the_version_that_would_wake_may_be_asked_for_while_asleep(
    slipway: Slipway, server: ModelServer
) -> None:
    slipway.serve(server.address, number=1)
    slipway.serve(None, number=2, asleep=True)
    with pytest.raises(BadRequest, match="none does"):
        await slipway.ask(version=1)
    assert slipway.state.model("cats").asleep
    with pytest.raises(Waking):
        await slipway.ask(version=2)
    assert not slipway.state.model("cats").asleep


async def test_no_more_are_held_than_the_bound_says() -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"max_held": 2}))
    slipway.serve(None, asleep=True)
    held = [asyncio.create_task(slipway.ask(hold=20)) for _ in range(2)]
    await until(lambda: not slipway.state.model("cats").asleep)
    with pytest.raises(Waking):
        await slipway.ask(hold=20)
    assert not any(task.done() for task in held)
    async with ModelServer(answering) as server:
        slipway.serve(server.address)
        assert [answer.version for answer in await asyncio.gather(*held)] == [1, 1]
    await slipway.proxy.close()


async def test_requests_that_come_at_once_read_the_record_once(server: ModelServer) -> None:
    slipway = Slipway(SETTINGS.model_copy(update={"route_cache_seconds": 3600}))
    slipway.serve(server.address)
    await asyncio.gather(*(slipway.ask() for _ in range(50)))
    reads = [effect for effect in slipway.world.effects if effect.name == "documents.read"]
    assert len(reads) == 2  # one of them is the test's own change
    await slipway.proxy.close()


async def test_an_old_route_is_used_while_storage_is_asked_and_a_very_old_one_is_not(server: ModelServer) -> None:
    clock = Clock()
    slipway = Slipway(SETTINGS.model_copy(update={"route_cache_seconds": 100}), clock)
    slipway.serve(server.address, number=1)
    assert (await slipway.ask()).version == 1
    slipway.serve(server.address, number=2)
    clock.now = 150
    assert (await slipway.ask()).version == 1
    await until(lambda: not slipway.proxy._routes._records.busy)
    assert (await slipway.ask()).version == 2
    slipway.serve(server.address, number=3)
    clock.now = 400
    assert (await slipway.ask()).version == 3
    await slipway.proxy.close()


async def test_while_another_version_is_on_its_way_a_route_is_known_for_half_a_second(server: ModelServer) -> None:
    clock = Clock()
    slipway = Slipway(SETTINGS.model_copy(update={"route_cache_seconds": 100}), clock)
    slipway.serve(server.address, number=1, rollout=slipway.rolling(2))
    assert (await slipway.ask()).version == 1
    slipway.serve(server.address, number=2, rollout=None)
    clock.now = 0.4
    assert (await slipway.ask()).version == 1
    assert not slipway.proxy._routes._records.busy
    clock.now = 0.6
    assert (await slipway.ask()).version == 1  # storage is asked meanwhile
    await until(lambda: not slipway.proxy._routes._records.busy)
    assert (await slipway.ask()).version == 2
    slipway.serve(server.address, number=1)
    clock.now = 50
    assert (await slipway.ask()).version == 2
    await slipway.proxy.close()


@pytest.mark.parametrize("name", ["../cluster", "a/b", "", "x" * 41, "Cats", "cats\0", "..", "ca ts"])
async def test_what_cannot_be_a_name_is_not_looked_for(slipway: Slipway, name: str) -> None:
    with pytest.raises(NotFound) as refused:
        await slipway.proxy._routes.record(name)
    assert refused.value.code == "unknown_model"
    assert slipway.world.effects == []


async def test_classes_below_the_asked_score_are_left_out(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(server.address)
    assert (await slipway.ask(min_score=0.5)).predictions == [[{"label": "lynx", "score": 0.9}]]
    assert (await slipway.ask(min_score=0.95)).predictions == [[]]
