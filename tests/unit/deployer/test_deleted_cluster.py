"""After the last rung there is no cluster: everybody is told so and what to do, nothing fails, and nothing of it is for ever."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from deployer.errors import AzureRefused, ClusterDeleted
from deployer.http import failure
from deployer.idle import DeleteCluster
from tests.deployed import IDLE, Deployed


@pytest.fixture
def deleted() -> Deployed:
    """``cats`` sleeps, and its cluster was deleted by the ladder."""
    deployed = Deployed().drop("cats.keras", "one")
    deployed.teardown = replace(deployed.teardown, policy=replace(IDLE, delete_after=timedelta(hours=5)))
    deployed.control = replace(deployed.control, teardown=deployed.teardown)
    deployed.cluster.may_delete = True
    for _ in range(120):
        deployed.run(299)
        deployed.tick()
    assert deployed.cluster.gone
    assert deployed.state.cluster().rung == "deleted"
    return deployed


def made_anew(deployed: Deployed, *, pool_count: int) -> None:
    """Somebody creates a cluster of the same name."""
    deployed.cluster.gone = False
    deployed.cluster._power = "Running"
    deployed.cluster._counts["gpu"] = pool_count


def test_a_request_is_told_and_wakes_nothing(deleted: Deployed) -> None:
    for _ in range(2):
        with pytest.raises(ClusterDeleted) as refused:
            deleted.request("cats")
    answer = failure(refused.value)
    assert (answer.status, refused.value.code) == (503, "cluster_deleted")
    assert "Create the cluster and its GPU pool anew under the same names" in refused.value.hint
    assert "Retry-After" not in answer.headers  # time alone does not bring it
    assert deleted.record("cats").asleep
    assert deleted.queue.messages == []


def test_looks_and_commands_are_told_the_same(deleted: Deployed) -> None:
    control = deleted.control
    for asked in (control.cluster, control.plan, lambda: control.order("wake", 10)):
        with pytest.raises(ClusterDeleted):
            asked()
    assert control.sums(None)["lines"]  # what was, can be read all the same
    assert deleted.state.cluster().order is None
    assert deleted.told_of("cats")["state"] == "asleep"
    told = [finding["message"] for finding in deleted.doctor.examine()["findings"] if finding["check"] == "cluster"]
    assert any("The idle ladder deleted the cluster" in message for message in told)


def test_timers_look_and_log_no_error(deleted: Deployed, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert [deleted.tick() for _ in range(3)] == [None, None, None]
        deleted.sweep.run()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "The idle ladder deleted the cluster" in caplog.text


def test_an_upload_waits_with_the_reason_and_is_asked_for_by_the_sweep_alone(deleted: Deployed) -> None:
    deleted.drop("dogs.keras", "two")
    record = deleted.record("dogs")
    assert record.rollout is not None and record.rollout.message.startswith("cluster_deleted: ")
    assert deleted.queue.messages == []
    deleted.run(120)
    deleted.sweep.run()
    assert [message.model for message in deleted.queue.messages] == ["dogs"]
    made_anew(deleted, pool_count=1)
    deleted.run()
    assert deleted.serving("dogs") == 1


@pytest.mark.parametrize("nodes", [0, 1])
def test_a_cluster_made_anew_is_seen_by_the_timer_and_models_wake_again(deleted: Deployed, nodes: int) -> None:
    made_anew(deleted, pool_count=nodes)
    assert deleted.tick() is not None
    assert deleted.state.cluster().rung != "deleted"
    deleted.request("cats")
    deleted.run()
    assert deleted.serving("cats") == 1


def test_a_command_sees_it_at_once(deleted: Deployed) -> None:
    made_anew(deleted, pool_count=0)
    deleted.control.order("wake", 10)
    deleted.run()
    assert deleted.serving("cats") == 1


def test_a_model_can_be_removed_without_a_cluster(deleted: Deployed) -> None:
    assert deleted.control.remove("cats", uploads=False)["removed"]
    assert deleted.servables.blobs == {}


def test_a_deletion_that_failed_leaves_a_cluster_that_wakes() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    deployed.teardown = replace(deployed.teardown, policy=replace(IDLE, delete_after=timedelta(hours=5)))
    for _ in range(90):
        deployed.run(299)
        deployed.tick()
    deployed.cluster.may_delete = True
    deployed.cluster.failures = ["a lock forbids it"]
    assert isinstance(deployed.tick(), DeleteCluster)
    assert deployed.state.cluster().rung == "deleted"
    deployed.run(900)
    deployed.cluster.may_delete = False
    deployed.tick()
    assert deployed.state.cluster().rung == "stopped"
    deployed.request("cats")
    deployed.run()
    assert deployed.serving("cats") == 1


def test_a_cluster_that_somebody_else_deleted_is_an_error_of_azures() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    deployed.cluster.gone = True
    with pytest.raises(AzureRefused) as refused:
        deployed.tick()
    assert refused.value.code == "azure_not_found"
