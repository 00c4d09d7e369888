"""Lost events and messages are found by the sweep; a kill at any effect changes nothing of how it ends."""

import pytest
from deployed import Deployed

from deployer.errors import Unavailable
from exporter import NotAModel, Stage


def outcome(deployed: Deployed) -> dict[str, object]:
    """All that a user would see at the end, but for times."""
    record = deployed.record("cats")
    return {
        "versions": [(item.version, item.state, item.identity) for item in record.versions],
        "serving": deployed.serving("cats"),
        "settled": record.settled,
        "upload": record.upload.state if record.upload else None,
        "tags": deployed.store.tags("cats.keras"),
        "visible": deployed.servables.visible(),
        "replicas": deployed.kubernetes.replicas("cats"),
        "selected": deployed.kubernetes.selected("cats"),
        "poison": deployed.poison,
    }


def two_versions(kill: int | None, *, after: bool) -> Deployed:
    """One version serves, then another is dropped, and the process is killed at that change."""
    deployed = Deployed().drop("cats.keras", "one", seconds=120)
    if kill is not None:
        deployed.world.kill_at(len(deployed.world.changes()) + kill, after=after)
    deployed.store.drop("cats.keras", "two")
    for _ in range(4):
        deployed.run(120)
        deployed.sweep.run()
    return deployed.run(120)


UNDISTURBED = two_versions(None, after=False)
FIRST = len(Deployed().drop("cats.keras", "one", seconds=120).world.changes())
CHANGES = len(UNDISTURBED.world.changes()) - FIRST


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, CHANGES + 1))
def test_a_kill_at_any_effect_ends_as_if_nothing_had_happened(number: int, after: bool) -> None:
    assert outcome(two_versions(number, after=after)) == outcome(UNDISTURBED)


def test_the_harness_would_notice_a_difference() -> None:
    """The same flow with other bytes ends otherwise; so equality above means something."""
    other = Deployed().drop("cats.keras", "one", seconds=120)
    assert outcome(other) != outcome(UNDISTURBED)
    assert CHANGES > 40


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
    deployed.exporter.refused[b"garbage"] = NotAModel("It is no model.", hint="Save it again.", stage=Stage.SCAN)
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
