"""A removal that cannot end yet keeps nothing that is dropped meanwhile from its way, and takes none of it away."""

import pytest

from tests.deployed import Deployed


@pytest.fixture
def stopped() -> Deployed:
    """A model that served sleeps in a cluster that is stopped."""
    deployed = Deployed().drop("cats.keras", "one")
    for _ in range(30):
        deployed.run(299)
        deployed.tick()
    assert deployed.cluster.state().power == "Stopped"
    return deployed


def objects_of_models(deployed: Deployed) -> list[tuple[str, str]]:
    """Deployments, Services and what else has a model's label."""
    return [key for key, item in deployed.kubernetes.objects.items() if "app" in item["metadata"].get("labels", {})]


@pytest.mark.parametrize("uploads", [False, True])
def test_what_is_dropped_after_a_removal_serves_though_the_cluster_was_stopped(
    stopped: Deployed, uploads: bool
) -> None:
    assert stopped.control.remove("cats", uploads=uploads)["removed"] is False
    assert stopped.told_of("cats")["state"] == "removing"
    stopped.drop("cats.keras", "two")
    stopped.sweep.run()
    assert (stopped.serving("cats"), stopped.kubernetes.replicas("cats")) == (2, {2: 1})
    assert list(stopped.store.blobs) == ["cats.keras"]
    assert {name.split("/")[1] for name in stopped.servables.blobs} == {"2"}
    assert stopped.record("cats").removed is None


def test_its_files_go_at_once_and_its_objects_when_the_cluster_runs(stopped: Deployed) -> None:
    stopped.control.remove("cats", uploads=True)
    assert not stopped.servables.blobs and not stopped.store.blobs
    stopped.sweep.run()
    removed = stopped.record("cats").removed
    assert removed is not None and not removed.done
    stopped.cluster.begin_start()
    stopped.run(120)
    stopped.sweep.run()
    assert not objects_of_models(stopped)
    left = stopped.state.find("cats")
    assert left is not None and left.removed is not None and left.removed.done


def test_a_refused_upload_after_a_removal_is_told_and_the_objects_go_all_the_same(stopped: Deployed) -> None:
    stopped.control.remove("cats", uploads=False)
    stopped.store.drop("cats.yaml", "unknown: key", event=False)
    stopped.drop("cats.keras", "two")
    assert stopped.told_of("cats")["state"] == "failed"
    stopped.cluster.begin_start()
    stopped.run(120)
    stopped.sweep.run()
    assert not objects_of_models(stopped)
    assert (stopped.told_of("cats")["state"], stopped.record("cats").removed) == ("failed", None)


def test_a_second_removal_takes_what_came_after_the_first(stopped: Deployed) -> None:
    stopped.control.remove("cats", uploads=False)
    stopped.cluster.failures = ["AllocationFailed: no capacity"] * 100
    stopped.drop("cats.keras", "two", seconds=60)
    stopped.control.remove("cats", uploads=True)
    assert not stopped.servables.blobs and not stopped.store.blobs
    assert stopped.record("cats").next_version == 3


def test_the_bridge_of_a_removed_model_goes_with_it() -> None:
    deployed = Deployed()
    deployed.bridged = True
    deployed.restart()
    deployed.drop("cats.keras", "one")
    for _ in range(9):
        deployed.run(299)
        deployed.tick()
    bridge = deployed.record("cats").bridge
    assert bridge is not None and bridge.address is not None
    deployed.control.remove("cats", uploads=False)
    assert not objects_of_models(deployed)
    left = deployed.state.find("cats")
    assert left is not None and (left.bridge is None or left.bridge.address is None)


def test_what_is_dropped_while_a_removal_waits_for_a_conversion_is_not_taken_away() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    removed: list[bool] = []

    def meanwhile() -> None:
        deployed.exporter.during = lambda: None
        removed.append(deployed.control.remove("cats", uploads=True)["removed"])
        deployed.store.drop("cats.keras", "three")

    deployed.exporter.during = meanwhile
    deployed.drop("cats.keras", "two")
    for _ in range(3):
        deployed.sweep.run()
        deployed.run(120)
    assert removed == [False]
    assert deployed.store.blobs["cats.keras"].data == b"three"
    record = deployed.record("cats")
    assert deployed.serving("cats") == record.desired == record.next_version - 1
