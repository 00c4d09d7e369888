"""What Azure wants waited for is waited for, told meanwhile, and looked at no more often than it helps."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from deployer.compute import compute_first
from deployer.errors import AzureRefused
from deployer.ports import ClusterState
from deployer.record import ModelRecord, RolloutStatus, VersionRecord
from deployer.steps import AwaitRestart, ClusterView, RolloutPolicy, WakeCluster
from tests.deployed import POLICY, Deployed

GAP = timedelta(minutes=20)
NOON = datetime.fromisoformat("2026-07-01T12:00:00+00:00")
STOPPED = ClusterState("Stopped", False, 0, "Succeeded")


@pytest.fixture
def stopped() -> Deployed:
    """A model sleeps, and its cluster is stopped; Azure wants twenty minutes between a stop and a start."""
    deployed = Deployed().drop("cats.keras", "one")
    while deployed.cluster.state().power != "Stopped":
        deployed.run(299)
        deployed.tick()
    deployed.tick()
    policy = replace(deployed.rollouts.policy, restart_gap=GAP)
    deployed.rollouts = replace(deployed.rollouts, policy=policy)
    return deployed


def throttled(retry_after: float | None) -> AzureRefused:
    return AzureRefused("azure_throttled", "Azure did not scale the pool: no further requests", retry_after=retry_after)


def looks(deployed: Deployed) -> int:
    return sum(effect.name == "cluster.state" for effect in deployed.world.effects)


def message(deployed: Deployed) -> str:
    rollout = deployed.record("cats").rollout
    assert rollout is not None
    return rollout.message


def test_a_cluster_that_was_stopped_just_now_is_not_started_before_its_time(stopped: Deployed) -> None:
    slept = stopped.state.cluster().slept
    assert slept is not None
    stopped.request("cats")
    before = looks(stopped)
    stopped.run((slept + GAP - stopped.world.now).total_seconds() - 31)
    assert stopped.cluster.state().power == "Stopped"
    assert f"was stopped at {slept:%H:%M} UTC" in message(stopped)
    assert f"it is started at {slept + GAP:%H:%M} UTC" in message(stopped)
    assert looks(stopped) - before < 45  # one each half minute, not each second or two
    stopped.run(300)
    assert stopped.serving("cats") == 1
    stages = {stage.stage for stage in stopped.state.timeline("cats", 1)}
    assert "restart-gap" in stages


def test_the_time_that_azure_wants_between_stop_and_start_is_no_time_without_compute() -> None:
    """Else a gap longer than the limit would give the version up."""
    status = RolloutStatus(
        version=1, started=NOON, step="AwaitRestart", since=NOON - timedelta(hours=2), looked=NOON, message=""
    )
    version = VersionRecord(version=1, identity="a", state="serving", created=NOON)
    record = ModelRecord(name="cats", updated=NOON, versions=(version,), desired=1, rollout=status)
    policy = RolloutPolicy(
        1, timedelta(minutes=5), POLICY.pods_limit, POLICY.prove_limit, POLICY.drain, restart_gap=GAP
    )
    cluster = ClusterView(STOPPED, slept=NOON - timedelta(minutes=19))
    assert isinstance(compute_first(record, version, cluster, policy, NOON), AwaitRestart)
    assert compute_first(record, version, replace(cluster, slept=None), policy, NOON) == WakeCluster(True, 1, "gpu")


@pytest.mark.parametrize("call", ["cluster.begin_pool", "cluster.state"])
def test_retry_after_is_honoured_and_told(call: str) -> None:
    deployed = Deployed(pool_count=0)
    deployed.store.drop("cats.keras", "one")
    deployed.world.fail(call, throttled(90), times=1)
    deployed.run(20)
    assert "azure_throttled" in str(message(deployed))
    tried = len(deployed.world.times("cluster.begin_pool", "1"))
    deployed.run(65)
    assert len(deployed.world.times("cluster.begin_pool", "1")) == tried
    assert deployed.poison == []
    deployed.run(120)
    assert deployed.serving("cats") == 1


def test_without_a_time_of_azures_a_refusal_is_tried_again_after_a_minute() -> None:
    deployed = Deployed(pool_count=0)
    deployed.store.drop("cats.keras", "one")
    deployed.world.fail("cluster.begin_pool", throttled(None), times=3)
    deployed.run(400)
    assert deployed.serving("cats") == 1 and deployed.poison == []


def test_a_refusal_that_time_does_not_heal_is_told_and_given_up_by_the_platform_not_hidden() -> None:
    deployed = Deployed(pool_count=0)
    deployed.store.drop("cats.keras", "one")
    refused = AzureRefused("azure_permission", "Azure did not scale the pool: a role is missing", "Grant it.")
    deployed.world.fail("cluster.state", refused, times=99)
    deployed.run(60)
    assert "azure_permission" in message(deployed)
    assert deployed.poison == ["cats"]
    assert "slipway retry cats" in str(deployed.told_of("cats")["hint"])
    deployed.world.faults.clear()
    deployed.control.retry("cats")
    deployed.run(120)
    assert deployed.serving("cats") == 1
