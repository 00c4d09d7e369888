"""Lost events and messages are found by the sweep; a kill at any effect changes nothing of how it ends."""

from collections.abc import Callable

import pytest

from deployer.errors import Unavailable
from deployer.ports import PodFailure
from exporter import NotAModel, Stage
from tests.deployed import DEQUEUES, Deployed
from tests.fake_cluster import Told
from tests.fakes import Killed

REFUSAL = NotAModel("It is no model.", hint="Save it again.", stage=Stage.SCAN)

Flow = Callable[[Deployed], None]


def outcome(deployed: Deployed) -> dict[str, object]:
    """All that a user would see at the end, but for times."""
    record, cluster = deployed.record("cats"), deployed.state.cluster()
    return {
        "versions": [(item.version, item.state, item.identity) for item in record.versions],
        "serving": deployed.serving("cats"),
        "settled": record.settled,
        "upload": record.upload.state if record.upload else None,
        "reason": record.upload.reason if record.upload else None,
        "tags": deployed.store.tags("cats.keras"),
        "visible": deployed.servables.visible(),
        "replicas": deployed.kubernetes.replicas("cats"),
        "selected": deployed.kubernetes.selected("cats"),
        "cluster": (deployed.cluster.state(), cluster.operation is None, cluster.wake, cluster.rung, cluster.failure),
        "poison": deployed.poison,
    }


def first_version(deployed: Deployed) -> None:
    """The very first upload, into a sleeping pool."""
    deployed.cluster.begin_pool(0)
    deployed.run(60)
    deployed.store.drop("cats.keras", "one")


def second_version(deployed: Deployed) -> None:
    """Another version takes the place of the one that serves."""
    deployed.store.drop("cats.keras", "two")


def broken_version(deployed: Deployed) -> None:
    """Another version does not come up and is given up."""
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=PodFailure("Error", "cannot parse", fatal=True))
    deployed.store.drop("cats.keras", "two")


def refused_file(deployed: Deployed) -> None:
    """What is dropped is no model."""
    deployed.exporter.refused[b"garbage"] = REFUSAL
    deployed.store.drop("cats.keras", "garbage")


def woken(deployed: Deployed) -> None:
    """A sleeping model is asked for again."""
    deployed.waker.wake("cats", by="request")


def slept(deployed: Deployed) -> None:
    """All goes to sleep by command."""
    deployed.control.order("sleep", None)


BEFORE: dict[Flow, list[Flow]] = {first_version: [], woken: [slept]}


def flow_of(flow: Flow, kill: int | None = None, *, after: bool = False) -> Deployed:
    """Runs the flow on a model that serves, kills the process at the flow's change of that number, and lets it heal."""
    deployed = Deployed()
    if flow is not first_version:
        deployed.drop("cats.keras", "one", seconds=120)
    for step in BEFORE.get(flow, []):
        step(deployed)
        deployed.run(120)
    deployed.marked = len(deployed.world.changes())
    if kill is not None:
        deployed.world.kill_at(deployed.marked + kill, after=after)
    persistently(deployed, lambda: flow(deployed))
    for _ in range(6):
        deployed.run(120)
        persistently(deployed, deployed.sweep.run)
        persistently(deployed, deployed.tick)
    return deployed.run(120)


def persistently(deployed: Deployed, call: Callable[[], object]) -> None:
    """Calls, and after a kill again, as users and timers do."""
    for _ in range(DEQUEUES):
        try:
            call()
            return
        except Killed:
            deployed.restart()
            deployed.world.pass_time(61)


FLOWS: list[Flow] = [first_version, second_version, broken_version, refused_file, woken, slept]
UNDISTURBED = {flow: flow_of(flow) for flow in FLOWS}
POINTS = [
    (flow, number)
    for flow, deployed in UNDISTURBED.items()
    for number in range(1, len(deployed.world.changes()) - deployed.marked + 1)
]  # fmt: skip


@pytest.mark.parametrize(("flow", "number"), POINTS, ids=[f"{flow.__name__}-{number}" for flow, number in POINTS])
def test_a_kill_after_any_effect_ends_as_if_nothing_had_happened(flow: Flow, number: int) -> None:
    """To the outside, a kill before an effect is one after the effect before it."""
    assert outcome(flow_of(flow, number, after=True)) == outcome(UNDISTURBED[flow])


@pytest.mark.parametrize("flow", FLOWS)
def test_a_kill_before_the_first_effect_ends_so_too(flow: Flow) -> None:
    assert outcome(flow_of(flow, 1)) == outcome(UNDISTURBED[flow])


def test_the_undisturbed_flows_end_where_they_should() -> None:
    """Else equality with them would mean nothing."""
    ends = {flow.__name__: deployed.serving("cats") for flow, deployed in UNDISTURBED.items()}
    assert ends == {
        "first_version": 1,
        "second_version": 2,
        "broken_version": 1,
        "refused_file": 1,
        "woken": 1,
        "slept": None,
    }
    assert all(deployed.record("cats").settled and not deployed.poison for deployed in UNDISTURBED.values())
    assert len(POINTS) > 150


def test_an_upload_whose_event_was_lost_is_taken_by_the_sweep() -> None:
    deployed = Deployed()
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.sweep.run()
    assert list(deployed.state.models()) == []  # it is left to its event for a while
    deployed.world.pass_time(61)
    deployed.sweep.run()
    deployed.run()
    assert deployed.serving("cats") == 1


def test_a_rollout_whose_message_was_lost_is_asked_for_by_the_sweep() -> None:
    deployed = Deployed()
    deployed.store.drop("cats.keras", "one")
    deployed.run(3)
    deployed.queue.messages.clear()
    deployed.world.pass_time(120)
    deployed.sweep.run()
    deployed.run()
    assert deployed.serving("cats") == 1


def test_a_sweep_of_what_is_settled_asks_for_nothing() -> None:
    deployed = Deployed()
    deployed.exporter.refused[b"garbage"] = REFUSAL
    deployed.drop("cats.keras", "one").drop("dogs.keras", "garbage").drop("mice/variables/variables.index", "half")
    deployed.world.pass_time(3600)
    before = len(deployed.world.changes())
    deployed.sweep.run()
    assert deployed.world.changes()[before:] == []


def test_a_sweep_does_not_ask_again_for_a_rollout_that_goes_on() -> None:
    deployed = Deployed()
    deployed.store.drop("cats.keras", "one")
    deployed.run(6)
    before = len(deployed.queue.messages)
    deployed.sweep.run()
    assert len(deployed.queue.messages) == before


def test_an_upload_that_keeps_failing_does_not_hinder_the_others() -> None:
    deployed = Deployed()
    for name in ("a", "b"):
        deployed.store.drop(f"{name}.keras", name, event=False)
    deployed.world.pass_time(61)
    deployed.world.fail("documents.lease", Unavailable("storage", "Storage did not do this."), times=1)
    deployed.sweep.run()
    deployed.run()
    assert deployed.serving("b") == 1


def test_a_kill_during_a_conversion_is_made_good_by_the_sweep() -> None:
    """The platform's retry finds the dead instance's lease still held, and leaves."""
    deployed = Deployed()
    deployed.world.kill_at(4)
    deployed.store.drop("cats.keras", "one")
    deployed.run(10)
    deployed.world.pass_time(61)
    deployed.sweep.run()
    deployed.run()
    assert deployed.serving("cats") == 1


def test_of_two_files_for_one_model_the_newest_is_meant_whatever_event_comes_last() -> None:
    """``Cats_v2.keras`` and ``cats-v2.keras`` are the same model."""
    deployed = Deployed().drop("Cats_v2.keras", "one").drop("cats-v2.keras", "two")
    assert deployed.record("cats-v2").desired == 2
    deployed.store.events = ["Cats_v2.keras"]
    deployed.run()
    assert deployed.record("cats-v2").desired == 2
