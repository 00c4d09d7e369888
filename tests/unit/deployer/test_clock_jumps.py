"""Clocks that jump, and an app that did not run for a while: no version is blamed, no wake is given up, no time is believed."""

from datetime import timedelta

import pytest

from deployer.ports import PodFailure
from tests.deployed import POLICY, Deployed
from tests.fake_cluster import Pace, Told
from tests.fakes import World

SLOW = Pace(start=200, stop=40, pool=300, node_join=60, pod_start=45)
JUMPS = [timedelta(days=3), timedelta(minutes=40), timedelta(minutes=-40), timedelta(days=-3)]


class Skew:
    """By how much the app's clock is wrong; that of Azure, Kubernetes and the queue never is."""

    by = timedelta(0)


@pytest.fixture
def skew(monkeypatch: pytest.MonkeyPatch) -> Skew:
    made = Skew()
    monkeypatch.setattr(World, "clock", lambda world: world.now + made.by)
    return made


def asleep() -> Deployed:
    deployed = Deployed(pace=SLOW).drop("cats.keras", "one", seconds=2000)
    deployed.control.order("sleep", None)
    deployed.run(400)
    assert deployed.cluster.state().pool_count == 0
    return deployed


@pytest.mark.parametrize("jump", JUMPS, ids=str)
@pytest.mark.parametrize("begun", [1, 100, 330, 380, 400])
def test_a_clock_that_jumps_gives_no_wake_up_and_blames_no_version(skew: Skew, jump: timedelta, begun: int) -> None:
    """At its beginning, while the pool grows, while the node joins, while the pods start; and it may come right again."""
    deployed = asleep()
    deployed.request("cats")
    deployed.run(begun)
    assert deployed.serving("cats") is None
    skew.by = jump
    deployed.run(10)
    skew.by = timedelta(0) if begun % 100 == 0 else jump
    deployed.run(600)
    assert "RollBack" not in deployed.steps
    assert deployed.serving("cats") == 1
    record = deployed.record("cats")
    assert [item.state for item in record.versions] == ["serving"]
    assert all(item.seconds < 3600 for item in deployed.state.cluster().wake_times)


def test_hours_without_a_look_count_for_no_bound() -> None:
    """What lasts all the same is given up after its time."""
    deployed = Deployed(pace=SLOW).drop("cats.keras", "one", seconds=2000)
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=PodFailure("ErrImagePull", "no such tag", fatal=False))
    deployed.drop("cats.keras", "two", seconds=60)
    begun = deployed.world.now
    deployed.world.pass_time(5 * 3600)
    deployed.run(60)
    assert deployed.record("cats").version(2).state == "published"
    deployed.run(POLICY.pods_limit.total_seconds() + 120)
    assert deployed.record("cats").version(2).state == "failed"
    assert deployed.world.now - begun < timedelta(hours=5) + 2 * POLICY.pods_limit
