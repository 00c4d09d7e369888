"""A version that cannot serve is given up with the reason, and what served before serves on."""

import pytest

from deployer.errors import CloudRefused, ClusterUnreachable, Unavailable
from deployer.ports import PodFailure
from deployer.record import UploadStatus
from tests.deployed import POLICY, Deployed
from tests.fake_cluster import Told

CRASHING = PodFailure("Error", "Data loss: cannot parse saved_model.pb", fatal=True)
PULLING = PodFailure("ErrImagePull", "not found", fatal=False)


@pytest.fixture(params=[1, 2], ids=["replace", "surge"])
def deployed(request: pytest.FixtureRequest) -> Deployed:
    """A model whose first version serves, on one GPU and on two."""
    return Deployed(gpus=request.param, pool_count=request.param).drop("cats.keras", "one")


def upload_of(deployed: Deployed) -> UploadStatus:
    upload = deployed.record("cats").upload
    assert upload is not None
    return upload


def test_a_broken_second_version_is_rolled_back_with_the_servers_own_words(deployed: Deployed) -> None:
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=CRASHING)
    deployed.drop("cats.keras", "two")
    record = deployed.record("cats")
    assert (record.desired, deployed.serving("cats"), record.rollout) == (1, 1, None)
    assert (record.version(1).state, record.version(2).state) == ("serving", "failed")
    assert "cannot parse saved_model.pb" in (upload_of(deployed).reason or "")
    assert (upload_of(deployed).state, upload_of(deployed).stage) == ("failed", "rollout")
    assert deployed.store.tags("cats.keras")["slipway_state"] == "failed"
    assert deployed.kubernetes.replicas("cats") == {1: 1}
    assert deployed.poison == []


def test_after_a_broken_version_a_good_one_is_rolled_out(deployed: Deployed) -> None:
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=CRASHING)
    deployed.drop("cats.keras", "two").drop("cats.keras", "three")
    assert deployed.serving("cats") == 3
    assert deployed.record("cats").previous == 1
    assert upload_of(deployed).state == "serving"


def test_a_version_that_answers_otherwise_is_never_switched_to(deployed: Deployed) -> None:
    deployed.kubernetes.told["tfs-cats-v2"] = Told(answer=-1.0)
    deployed.drop("cats.keras", "two")
    assert deployed.serving("cats") == 1
    assert "answers otherwise than at its conversion" in (upload_of(deployed).reason or "")
    selectors = {item for item in deployed.world.changes() if item.subject == "Service/tfs-cats"}
    assert len(selectors) == 1


def test_pods_that_are_never_ready_are_given_up_in_time(deployed: Deployed) -> None:
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=PULLING)
    deployed.drop("cats.keras", "two", seconds=POLICY.pods_limit.total_seconds() - 60)
    assert deployed.record("cats").desired == 2
    deployed.run(200)
    assert deployed.serving("cats") == 1
    assert "cannot be pulled" in (upload_of(deployed).reason or "")


def test_the_version_that_comes_back_is_waited_for() -> None:
    """After a replacement failed, the rollout goes on until the version before answers again: callers are held so long."""
    deployed = Deployed().drop("cats.keras", "one")
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=CRASHING)
    deployed.store.drop("cats.keras", "two")
    torn: list[str] = []

    def watch() -> None:
        record = deployed.record("cats")
        if record.settled and deployed.serving("cats") is None:
            torn.append(deployed.steps[-1])

    deployed.run(watch=watch)
    assert deployed.serving("cats") == 1
    assert torn == []


def test_a_first_version_that_fails_leaves_nothing_behind() -> None:
    deployed = Deployed()
    deployed.kubernetes.told["tfs-cats-v1"] = Told(failure=CRASHING)
    deployed.drop("cats.keras", "one")
    record = deployed.record("cats")
    assert (record.desired, record.route, record.settled) == (None, None, True)
    assert deployed.kubernetes.replicas("cats") == {}
    assert deployed.told_of("cats")["state"] == "failed"


def test_a_newer_upload_supersedes_a_rollout_under_way(deployed: Deployed) -> None:
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=PULLING)
    deployed.drop("cats.keras", "two", seconds=60).drop("cats.keras", "three")
    assert deployed.serving("cats") == 3
    assert deployed.kubernetes.replicas("cats") == {3: 1}


def test_a_failing_api_server_is_waited_for(deployed: Deployed) -> None:
    deployed.world.fail("workloads.of", ClusterUnreachable("kubernetes_unreachable", "no route to host"), times=20)
    deployed.drop("cats.keras", "two")
    assert deployed.serving("cats") == 2


def test_an_azure_failure_is_told_and_the_next_wake_tries_again() -> None:
    """A failure of one operation must not stand in the way of the next one."""
    deployed = Deployed(pool_count=0)
    deployed.cluster.failures = ["ErrCode_InsufficientVCPUQuota: no quota"] * 100
    deployed.drop("cats.keras", "one", seconds=POLICY.cluster_limit.total_seconds() + 300)
    record = deployed.record("cats")
    assert (record.asleep, record.desired) == (True, 1)
    assert "no quota" in (upload_of(deployed).reason or "")
    deployed.cluster.failures.clear()
    deployed.request("cats")
    deployed.run()
    assert deployed.serving("cats") == 1
    assert deployed.told_of("cats")["state"] == "serving"


def test_a_passing_azure_failure_is_tried_again_within_the_same_rollout() -> None:
    deployed = Deployed(pool_count=0)
    deployed.cluster.failures = ["AllocationFailed: no capacity"]
    deployed.drop("cats.keras", "one", seconds=900)
    assert deployed.serving("cats") == 1
    assert deployed.control.cluster()["failure"] is None


def test_an_operation_that_azure_refuses_to_begin_is_tried_again() -> None:
    deployed = Deployed(pool_count=0)
    deployed.world.fail("cluster.begin_pool", CloudRefused("OperationNotAllowed", "Another runs.", ""), times=3)
    deployed.drop("cats.keras", "one")
    assert deployed.serving("cats") == 1
    assert deployed.poison == []


def test_lack_of_compute_is_not_blamed_on_the_version() -> None:
    """The second version stays what is wanted; the first one, asleep, could not be given compute either."""
    deployed = Deployed().drop("cats.keras", "one").drop("cats.keras", "two")
    deployed.control.order("sleep", None)
    deployed.run(120)
    deployed.cluster.failures = ["AllocationFailed: no capacity"] * 100
    deployed.request("cats")
    deployed.run(POLICY.cluster_limit.total_seconds() + 300)
    record = deployed.record("cats")
    assert (record.desired, record.asleep, record.version(2).state) == (2, True, "serving")


def test_after_sleep_a_failing_newer_version_goes_back_to_the_one_that_served() -> None:
    deployed = Deployed().drop("cats.keras", "one").drop("cats.keras", "two")
    deployed.control.order("sleep", None)
    deployed.run(120)
    deployed.kubernetes.told["tfs-cats-v3"] = Told(failure=CRASHING)
    deployed.drop("cats.keras", "three")
    assert deployed.serving("cats") == 2
    states = {item.version: item.state for item in deployed.record("cats").versions}
    assert states == {1: "retired", 2: "serving", 3: "failed"}


def test_after_sleep_a_newer_version_retires_the_one_that_served() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    deployed.control.order("sleep", None)
    deployed.run(120)
    deployed.drop("cats.keras", "two")
    record = deployed.record("cats")
    assert (deployed.serving("cats"), record.previous) == (2, 1)
    assert {item.version: item.state for item in record.versions} == {1: "retired", 2: "serving"}


def test_a_lost_manifest_gives_the_version_up(deployed: Deployed) -> None:
    deployed.store.drop("cats.keras", "two")
    deployed.run(3)
    del deployed.servables.blobs["cats/2/servable.json"]
    deployed.run()
    assert deployed.serving("cats") == 1
    assert upload_of(deployed).reason == "servables/cats/2/servable.json is gone"
    assert deployed.poison == []


def test_golden_requests_that_go_unanswered_give_the_version_up(deployed: Deployed) -> None:
    deployed.world.fail("server.predict", Unavailable("model_server", "it answered 500: no kernel"), times=10**6)
    deployed.drop("cats.keras", "two")
    assert deployed.serving("cats") == 1
    assert "no kernel" in (upload_of(deployed).reason or "")
