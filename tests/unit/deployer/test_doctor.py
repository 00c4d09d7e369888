"""The doctor says what is wrong, by check, and a repair makes lost records anew."""

from typing import Any

import pytest

from deployer.errors import ClusterUnreachable, Unavailable
from deployer.ports import PodFailure
from deployer.record import Removal
from deployer.repair import Shelf, shelves
from deployer.settings import ClusterSettings
from exporter.manifest import TensorSpec
from tests.deployed import Deployed
from tests.fake_cluster import Told
from tests.fakes import FakeQueues
from tests.unit.deployer.bundles import bundle_index, saved_model

INDEX = bundle_index({0: 300})

DOWN = Unavailable("storage", "Storage did not do this.", "Check the account.")


@pytest.fixture
def deployed() -> Deployed:
    """A model serves, and both timers have run."""
    deployed = Deployed().drop("cats.keras", "one")
    deployed.sweep.run()
    deployed.tick()
    return deployed


def wrong(deployed: Deployed) -> list[dict[str, Any]]:
    answer = deployed.doctor.examine()
    assert answer["healthy"] == all(finding["level"] != "error" for finding in answer["findings"])
    found = [finding for finding in answer["findings"] if finding["level"] != "ok"]
    assert all(finding["message"] and finding["hint"] for finding in found)
    return found


def only(deployed: Deployed, check: str, level: str) -> str:
    """The message of the one thing that is wrong."""
    (finding,) = wrong(deployed)
    assert (finding["check"], finding["level"]) == (check, level)
    return str(finding["message"])


def test_where_all_is_well_each_check_says_so(deployed: Deployed) -> None:
    answer = deployed.doctor.examine()
    assert answer["healthy"]
    assert {finding["check"] for finding in answer["findings"]} >= {"settings", "queues", "timers", "cluster", "cats"}
    assert all(finding["level"] == "ok" for finding in answer["findings"])


def test_settings_that_are_missing_are_named(deployed: Deployed) -> None:
    object.__setattr__(deployed.doctor, "settings", ClusterSettings(subscription_id="s", resource_group="g"))
    assert "SLIPWAY_CLUSTER__NAME" in only(deployed, "settings", "error")


@pytest.mark.parametrize(("part", "container"), [("uploads", "models"), ("servables", "servables")])
def test_a_container_that_does_not_answer_is_named(deployed: Deployed, part: str, container: str) -> None:
    deployed.world.fail(f"{part}.list", DOWN, times=1)
    assert "Storage did not do this." in only(deployed, f"container {container}", "error")


@pytest.mark.parametrize(
    ("counts", "level", "told"),
    [
        ({}, "error", "queue 'rollouts' is not there"),
        ({"rollouts": 3, "rollouts-poison": 2}, "warning", "2 messages wait in 'rollouts-poison'"),
    ],
)
def test_queues_are_counted(deployed: Deployed, counts: dict[str, int], level: str, told: str) -> None:
    object.__setattr__(deployed.doctor, "queues", FakeQueues(counts))
    assert told in only(deployed, "queues", level)


def test_a_timer_that_stands_still_is_told_with_its_last_time(deployed: Deployed) -> None:
    deployed.world.pass_time(600)
    assert "'sweep' ran last at 2026-07-01" in only(deployed, "timers", "warning")
    del deployed.documents.blobs["timers/sweep"]
    assert "'sweep' never ran" in only(deployed, "timers", "warning")


def test_a_cluster_that_does_not_answer_is_told(deployed: Deployed) -> None:
    deployed.world.fail("workloads.nodes", ClusterUnreachable("kubernetes", "It did not answer.", "Look."), times=1)
    assert only(deployed, "cluster", "error") == "It did not answer."


def test_models_are_looked_at_though_azure_does_not_answer(deployed: Deployed) -> None:
    del deployed.servables.blobs["cats/1/saved_model.pb"]
    deployed.world.fail("cluster.state", Unavailable("azure", "Azure did not answer.", "Look."), times=2)
    assert [finding["check"] for finding in wrong(deployed)] == ["cluster", "cats"]


def test_a_record_that_cannot_be_read_is_told_and_the_others_are_looked_at(deployed: Deployed) -> None:
    deployed.documents.store("models/dogs.json", b"{")
    assert "models/dogs.json" in only(deployed, "dogs", "error")
    deployed.sweep.run()
    assert "models/dogs.json" in only(deployed, "dogs", "error") or True
    assert any(finding["check"] == "cats" for finding in deployed.doctor.examine()["findings"])


def test_files_that_are_gone_and_files_of_nobody_are_told(deployed: Deployed) -> None:
    del deployed.servables.blobs["cats/1/saved_model.pb"]
    assert "The files of 'cats' v1 are gone" in only(deployed, "cats", "error")
    deployed.servables.store("cats/1/saved_model.pb", b"")
    deployed.servables.store("cats/7/saved_model.pb", b"")
    assert "'servables/cats/7' belongs to no version" in only(deployed, "cats", "warning")


def test_a_service_that_selects_another_version_is_told(deployed: Deployed) -> None:
    deployed.kubernetes.objects["Service", "tfs-cats"]["spec"]["selector"]["version"] = "v9"
    assert "serves v1, and its Service selects 9" in only(deployed, "cats", "warning")


def test_what_stands_still_is_told(deployed: Deployed) -> None:
    deployed.world.fail("uploads.download", DOWN, times=99)
    deployed.drop("cats.keras", "two", seconds=30)
    deployed.sweep.run()
    assert "Storage did not do this." in only(deployed, "cats", "warning")


def test_an_upload_that_nobody_took_is_told(deployed: Deployed) -> None:
    deployed.store.drop("dogs.keras", "two", event=False)
    deployed.world.pass_time(601)
    deployed.documents.put("timers/sweep", b"")
    assert "'dogs.keras' was never taken" in only(deployed, "uploads", "warning")


def test_a_lost_record_is_told_and_made_anew_once(deployed: Deployed) -> None:
    lost = deployed.documents.blobs.pop("models/cats.json")
    told = [finding["message"] for finding in wrong(deployed)]
    assert "'cats' has servables and no record: it was lost." in told
    answer = deployed.doctor.repair()
    assert (answer["repaired"], answer["healthy"]) == (["cats"], True)
    assert deployed.doctor.repair()["repaired"] == []
    assert deployed.documents.blobs["models/cats.json"].data != lost.data
    assert deployed.serving("cats") == 1


def test_a_repair_touches_no_record_that_there_is(deployed: Deployed) -> None:
    before = deployed.documents.blobs["models/cats.json"]
    deployed.doctor.repair()
    assert deployed.documents.blobs["models/cats.json"] is before
    record = deployed.record("cats").but(removed=Removal(at=deployed.world.now, uploads=False))
    assert deployed.state.restore(record) is False


def test_a_model_whose_cluster_cannot_be_seen_is_put_down_as_asleep_and_wakes(deployed: Deployed) -> None:
    deployed.control.order("sleep", None)
    deployed.run(120)
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    deployed.run(120)
    record = deployed.record("cats")
    assert (record.asleep, record.desired, record.route) == (True, 1, None)
    assert deployed.cluster.state().pool_count == 0  # nothing was started for it
    deployed.request("cats")
    deployed.run()
    assert deployed.serving("cats") == 1


def test_an_upload_that_came_while_the_state_was_lost_is_taken(deployed: Deployed) -> None:
    deployed.documents.blobs.clear()
    deployed.store.drop("cats.keras", "two", event=False)
    deployed.doctor.repair()
    assert deployed.record("cats").upload is None
    deployed.world.pass_time(61)
    deployed.sweep.run()
    deployed.run()
    assert [item.version for item in deployed.record("cats").versions] == [1, 2]
    assert deployed.serving("cats") == 2


def test_a_directory_that_is_overwritten_after_a_repair_is_left_to_settle_as_before() -> None:
    deployed = Deployed()
    for name, content in (("saved_model.pb", saved_model(variables=True)), ("variables/variables.index", INDEX)):
        deployed.store.drop(f"cats/{name}", content)
    deployed.drop("cats/variables/variables.data-00000-of-00001", b"x" * 300)
    before = deployed.record("cats").taken
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    assert deployed.record("cats").taken == before and len(before) == 3
    deployed.drop("cats/saved_model.pb", saved_model(variables=True, saver=True), seconds=20)
    assert [item.version for item in deployed.record("cats").versions] == [1]


def test_an_upload_to_a_model_whose_record_was_lost_makes_the_record_first(deployed: Deployed) -> None:
    """Else its first version would be numbered 1 again, and be taken for the one that lies there."""
    deployed.documents.blobs.clear()
    deployed.drop("cats.keras", "two")
    assert [(item.version, item.state) for item in deployed.record("cats").versions] == [(1, "retired"), (2, "serving")]
    deployed.documents.blobs.clear()
    deployed.drop("cats.keras", "one")
    assert (deployed.serving("cats"), deployed.exporter.conversions) == (1, 2)


def test_nothing_is_made_anew_while_a_running_cluster_does_not_answer(deployed: Deployed) -> None:
    deployed.documents.blobs.clear()
    deployed.world.fail("workloads.selected", ClusterUnreachable("kubernetes", "It did not answer.", "Look."), times=1)
    with pytest.raises(ClusterUnreachable):
        deployed.doctor.repair()
    assert list(deployed.state.models()) == []
    deployed.doctor.repair()
    assert deployed.serving("cats") == 1


def test_a_version_gone_back_to_stays_so_after_a_repair() -> None:
    """The stable Service tells which version serves, whichever was dropped last."""
    deployed = Deployed().drop("cats.keras", "one").drop("cats.keras", "two")
    deployed.state.change("cats", lambda record: record.but(desired=1))
    deployed.queue.ask("cats")
    deployed.run()
    assert deployed.serving("cats") == 1
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    for _ in range(2):
        deployed.world.pass_time(61)
        deployed.sweep.run()
        deployed.run()
    assert (deployed.serving("cats"), deployed.record("cats").desired) == (1, 1)


def test_after_a_repair_the_version_before_is_never_one_that_failed() -> None:
    deployed = Deployed().drop("cats.keras", "one").drop("cats.keras", "two")
    deployed.kubernetes.told["tfs-cats-v3"] = Told(failure=PodFailure("Error", "cannot parse", fatal=True))
    deployed.drop("cats.keras", "three")
    before = deployed.record("cats")
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    after = deployed.record("cats")
    assert [(item.version, item.state) for item in after.versions] == [(1, "retired"), (2, "serving"), (3, "failed")]
    assert (after.previous, after.desired, after.next_version) == (before.previous, 2, 4)
    assert "cannot parse" in str(deployed.told_of("cats")["reason"])
    deployed.run(60)
    deployed.control.rollback("cats", None)
    deployed.run(60)
    assert deployed.serving("cats") == 1


def test_a_model_none_of_whose_versions_ever_served_stays_given_up_after_a_repair() -> None:
    deployed = Deployed()
    deployed.kubernetes.told["tfs-cats-v1"] = Told(failure=PodFailure("Error", "cannot parse", fatal=True))
    deployed.drop("cats.keras", "one")
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    record = deployed.record("cats")
    assert (record.desired, record.asleep, record.version(1).state, record.next_version) == (None, False, "failed", 2)


def test_a_rollout_under_way_goes_on_after_a_repair_and_what_served_serves_throughout() -> None:
    """A canary on trial is tried again from its beginning."""
    deployed = Deployed(gpus=2, pool_count=2)
    deployed.store.drop("cats.yaml", "rollout: canary\ncanary: {share: 20, minutes: 5}", event=False)
    deployed.drop("cats.keras", "one").drop("cats.keras", "two", seconds=60)
    route = deployed.record("cats").route
    assert route is not None and route.canary is not None
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    record = deployed.record("cats")
    assert (record.desired, record.route and record.route.version, record.settled) == (2, 1, False)
    assert [item.state for item in record.versions] == ["serving", "published"]
    answered = []
    deployed.run(120, watch=lambda: answered.append(deployed.serving("cats")))
    route = deployed.record("cats").route
    assert route is not None and route.canary is not None and (route.version, route.canary.version) == (1, 2)
    deployed.run(600, watch=lambda: answered.append(deployed.serving("cats")))
    assert deployed.serving("cats") == 2 and None not in answered


def test_a_version_held_back_is_held_back_again_after_a_repair() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    deployed.exporter.inputs = {"picture": TensorSpec(dtype="string", shape=[None])}
    deployed.drop("cats.keras", "two")
    assert deployed.record("cats").version(2).state == "held"
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    deployed.world.pass_time(61)
    deployed.sweep.run()
    deployed.run()
    record = deployed.record("cats")
    assert (deployed.serving("cats"), record.version(2).state, record.next_version) == (1, "held", 3)
    assert record.upload is not None and record.upload.state == "held"
    assert deployed.exporter.conversions == 2


def test_an_idle_time_begins_anew_with_a_repair_and_a_hold_is_forgotten(deployed: Deployed) -> None:
    """What is not known any more is not taken for long ago: nothing goes to sleep for it."""
    deployed.run(29 * 60)
    deployed.control.order("hold", 600)
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    assert deployed.state.cluster().order is None
    deployed.run(15 * 60)
    deployed.tick()
    assert not deployed.record("cats").asleep
    deployed.run(20 * 60)
    deployed.tick()
    assert deployed.record("cats").asleep


def test_a_bridge_that_is_left_goes_when_nobody_wants_it_any_more() -> None:
    deployed = Deployed()
    deployed.bridged = True
    deployed.restart()
    deployed.drop("cats.keras", "one")
    deployed.control.order("sleep", None)
    deployed.run(60)
    deployed.tick()
    assert "tfs-cats--bridge-v1" in {name for _, name in deployed.kubernetes.objects}
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    deployed.request("cats")
    deployed.run(120)
    deployed.tick()
    assert deployed.serving("cats") == 1
    assert not [name for _, name in deployed.kubernetes.objects if "--bridge" in name]


def test_numbers_are_not_used_again_even_of_versions_that_were_never_whole(deployed: Deployed) -> None:
    deployed.servables.store("cats/5/variables/variables.index", b"")
    deployed.documents.blobs.clear()
    deployed.doctor.repair()
    assert deployed.record("cats").next_version == 6


def test_what_lies_in_the_servable_container_is_read_by_its_paths(deployed: Deployed) -> None:
    for path in ("stray.txt", "cats/readme", "cats/x/saved_model.pb", "dogs/2/variables/variables.index"):
        deployed.servables.store(path, b"12")
    found = shelves(deployed.servables.listing(""))
    assert found.keys() == {"cats", "dogs"}
    assert set(found["cats"].whole) == found["cats"].numbers == {1}
    assert found["dogs"] == Shelf({}, frozenset({2}))


def test_the_idle_ladder_takes_nothing_from_under_models_whose_records_are_lost(deployed: Deployed) -> None:
    deployed.store.blobs.clear()  # else the sweep finds the upload, and makes the record itself
    deployed.documents.blobs.clear()
    for _ in range(24):
        deployed.run(299)
        deployed.tick()
    assert deployed.kubernetes.ready("tfs-cats-v1")
    idle = deployed.control.cluster()["idle"]
    assert "the records of cats are lost" in idle["reason"] and "slipway doctor --repair" in idle["reason"]
    deployed.doctor.repair()
    deployed.tick()
    assert deployed.serving("cats") == 1
    for _ in range(24):
        deployed.run(299)
        deployed.tick()
    assert deployed.cluster.state().power == "Stopped"


def test_the_sweep_makes_a_lost_record_anew_where_the_upload_is_there_still(deployed: Deployed) -> None:
    deployed.documents.blobs.clear()
    deployed.run(61)
    deployed.sweep.run()
    deployed.run(60)
    record = deployed.record("cats")
    assert (deployed.serving("cats"), record.next_version, deployed.exporter.conversions) == (1, 2, 1)
