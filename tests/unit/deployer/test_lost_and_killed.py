"""Lost events and messages are found by the sweep."""

from deployer.errors import Unavailable
from exporter import NotAModel, Stage
from tests.deployed import Deployed

REFUSAL = NotAModel("It is no model.", hint="Save it again.", stage=Stage.SCAN)


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
    deployed.sweep.run()  # it reports what is unfinished
    before = len(deployed.world.changes())
    deployed.sweep.run()
    assert [effect.subject for effect in deployed.world.changes()[before:]] == ["timers/sweep"]


def test_a_sweep_with_nothing_to_do_costs_the_same_whatever_the_number_of_models() -> None:
    costs = []
    for count in (1, 20):
        deployed = Deployed(gpus=count, pool_count=count)
        for number in range(count):
            deployed.store.drop(f"cats{number}.keras", f"model {number}")
        deployed.run(300)
        assert all(deployed.record(f"cats{number}").settled for number in range(count))
        deployed.world.pass_time(3600)
        before = len(deployed.world.effects)
        deployed.sweep.run()
        costs.append([effect.name for effect in deployed.world.effects[before:]])
    assert costs == [["documents.put", "documents.list", "uploads.list"]] * 2


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
