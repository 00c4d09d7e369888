"""Where there is no GPU for a version, that is no fault of the version's: it is not given up for good."""

import pytest

from deployer.errors import SlipwayError
from tests.deployed import Deployed

QUOTA = "the vCPU quota of standardNCASv3Family is used up"


def idle(deployed: Deployed) -> None:
    """Forty minutes without a request."""
    for _ in range(8):
        deployed.run(299)
        deployed.tick()


@pytest.fixture
def two_for_one_gpu() -> Deployed:
    """Dogs sleep, and cats have taken the only GPU meanwhile."""
    deployed = Deployed().drop("dogs.keras", "one").drop("dogs.keras", "two")
    idle(deployed)
    return deployed.drop("cats.keras", "one")


def test_a_wake_that_finds_no_gpu_free_leaves_the_model_asleep_with_its_version(two_for_one_gpu: Deployed) -> None:
    deployed = two_for_one_gpu
    deployed.request("dogs")
    deployed.run(900)
    record = deployed.record("dogs")
    assert (record.desired, record.asleep, record.version(2).state) == (2, True, "serving")
    assert "no GPU is free" in str(deployed.told_of("dogs")["reason"])
    assert deployed.kubernetes.replicas("dogs") == {1: 0} or not deployed.kubernetes.replicas("dogs")
    assert deployed.serving("cats") == 1


def test_it_serves_with_the_next_request_that_finds_one_free(two_for_one_gpu: Deployed) -> None:
    deployed = two_for_one_gpu
    deployed.request("dogs")
    deployed.run(900)
    deployed.control.remove("cats", uploads=False)
    deployed.run(60)
    deployed.request("dogs")
    deployed.run(120)
    assert deployed.serving("dogs") == 2
    upload = deployed.record("dogs").upload
    assert upload is not None and (upload.state, upload.reason) == ("serving", None)


def test_a_version_that_served_on_cpu_comes_back_where_the_next_gets_no_gpu() -> None:
    deployed = Deployed(pool_count=0)
    deployed.store.drop("cats.yaml", "gpus: 0", event=False)
    deployed.drop("cats.keras", "one")
    deployed.control.order("sleep", None)
    deployed.run(60)
    deployed.cluster.without_quota = {"gpu"}
    deployed.store.drop("cats.yaml", "gpus: 1", event=False)
    deployed.drop("cats.keras", "two", seconds=3600)
    assert deployed.serving("cats") == 1


def test_a_rollout_without_compute_can_be_tried_again_by_command() -> None:
    deployed = Deployed(pool_count=0)
    deployed.store.drop("cats.yaml", "gpus: 0", event=False)
    deployed.drop("cats.keras", "one")
    deployed.cluster.without_quota = {"gpu"}
    deployed.store.drop("cats.yaml", "gpus: 1", event=False)
    deployed.drop("cats.keras", "two", seconds=3600)
    told = deployed.told_of("cats")
    assert (deployed.serving("cats"), told["state"]) == (1, "failed")
    assert QUOTA in str(told["reason"]) and QUOTA in str(deployed.record("cats").version(2).reason)
    deployed.cluster.without_quota = set()
    deployed.control.retry("cats")
    deployed.run(120)
    assert deployed.serving("cats") == 2
    with pytest.raises(SlipwayError, match="has failed or stands still"):
        deployed.control.retry("cats")
