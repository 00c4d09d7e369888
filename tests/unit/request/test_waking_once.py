"""However many requests come to a sleeping model, on however many instances: it is woken once."""

import asyncio
from datetime import timedelta

import pytest

from deployer.activity import ActivityNotes
from deployer.errors import Waking
from deployer.record import ClusterRecord, wake_begun, wake_ended
from deployer.request import Proxy
from deployer.request.parse import ClassifyRequest, Wanted
from deployer.settings import IdleSettings
from deployer.state import State
from deployer.waking import Waker
from tests.unit.request.proxied import IMAGE, SETTINGS, ModelServer, Slipway, until

REQUESTS = 25


def instance(slipway: Slipway) -> Proxy:
    """Another instance of the app: nothing in memory is shared but what stands for storage and the queue."""
    state = State(slipway.documents, slipway.world.clock)
    waker = Waker(state, slipway.queue, IdleSettings().wake_seconds, timedelta(0), slipway.world.clock)
    notes = ActivityNotes(slipway.documents, 3600, asyncio.get_running_loop().time)
    return Proxy(state, waker, notes, slipway.figures, SETTINGS)


async def ask(proxy: Proxy, hold: float = 0.0) -> object:
    """The answer's version, or the error."""
    request = ClassifyRequest((IMAGE,), None, None, None, Wanted(hold_seconds=hold))
    try:
        return (await proxy.classify("cats", request)).version
    except Waking as waking:
        return waking


async def test_many_requests_on_several_instances_start_one_wake(slipway: Slipway) -> None:
    slipway.serve(None, asleep=True)
    instances = [instance(slipway) for _ in range(4)]
    answers = await asyncio.gather(*(ask(proxy) for proxy in instances for _ in range(REQUESTS)))
    assert [type(answer) for answer in answers] == [Waking] * len(answers)
    assert [message.model for message in slipway.queue.messages] == ["cats"]
    assert not slipway.state.model("cats").asleep
    wake = slipway.state.cluster().wake
    assert wake is not None and wake.by == "request"


async def test_all_that_wait_are_answered_when_it_is_awake(slipway: Slipway, server: ModelServer) -> None:
    slipway.serve(None, asleep=True)
    instances = [instance(slipway) for _ in range(3)]
    asked = [asyncio.create_task(ask(proxy, hold=20)) for proxy in instances for _ in range(REQUESTS)]
    await until(lambda: not slipway.state.model("cats").asleep)
    slipway.serve(server.address)
    assert await asyncio.gather(*asked) == [1] * len(asked)
    assert len(slipway.queue.messages) == 1
    for proxy in instances:
        await proxy.close()


@pytest.mark.parametrize("seconds", [120, 30])
async def test_the_estimate_is_that_of_wakes_seen(slipway: Slipway, seconds: float) -> None:
    def begun(record: ClusterRecord) -> ClusterRecord:
        return wake_begun(record, "dogs", "x", slipway.world.now)

    for _ in range(3):
        slipway.state.change_cluster(begun)
        slipway.world.pass_time(seconds)
        slipway.state.change_cluster(lambda record: wake_ended(record, "dogs", slipway.world.now))
    slipway.serve(None, asleep=True)
    told = await ask(instance(slipway))
    assert isinstance(told, Waking)
    assert told.eta_seconds == seconds
