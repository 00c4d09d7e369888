"""Idle compute goes rung by rung, and one request brings it back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from deployer.errors import CloudRefused
from deployer.idle import EmptyPool, SleepModels, Stay
from tests.deployed import IDLE, Deployed

HOUR = 3600.0


def idle(deployed: Deployed, seconds: float) -> list[str]:
    """Time passes without a request; the timer fires every five minutes. The decisions, each once in a row."""
    seen: list[str] = []
    for _ in range(int(seconds // 300)):
        deployed.run(299)
        name = type(deployed.tick()).__name__
        if not seen or seen[-1] != name:
            seen.append(name)
    return seen


@pytest.fixture
def deployed() -> Deployed:
    return Deployed().drop("cats.keras", "one")


def test_the_ladder_goes_down_rung_by_rung(deployed: Deployed) -> None:
    assert idle(deployed, 2 * HOUR) == ["Stay", "SleepModels", "Stay", "EmptyPool", "Stay", "StopCluster", "Stay"]
    assert deployed.cluster.state().power == "Stopped"
    record = deployed.record("cats")
    assert (record.asleep, record.route, record.desired) == (True, None, 1)
    assert [item.state for item in record.versions] == ["serving"]


def test_a_request_keeps_the_model_awake(deployed: Deployed) -> None:
    for _ in range(6):
        idle(deployed, HOUR / 4)
        deployed.request("cats")
    assert deployed.serving("cats") == 1


@pytest.mark.parametrize(
    ("hours", "rung"), [(0.5, "pods"), (0.75, "pool"), (2.0, "stopped")]
)  # fmt: skip
def test_a_request_wakes_the_model_from_every_rung(deployed: Deployed, hours: float, rung: str) -> None:
    idle(deployed, hours * HOUR)
    assert deployed.control.cluster()["state"] == rung
    assert deployed.serving("cats") is None
    deployed.request("cats")
    assert deployed.control.cluster()["state"] == "waking"
    deployed.run()
    assert deployed.serving("cats") == 1
    cluster = deployed.state.cluster()
    assert (cluster.wake, cluster.rung, [time.rung for time in cluster.wake_times]) == (None, None, [rung])
    assert deployed.told_of("cats")["state"] == "serving"


def test_many_requests_wake_once(deployed: Deployed) -> None:
    idle(deployed, HOUR)
    for _ in range(5):
        deployed.request("cats")
    begun = [effect for effect in deployed.world.changes() if effect.name == "cluster.begin_pool"]
    deployed.run()
    after = [effect for effect in deployed.world.changes() if effect.name == "cluster.begin_pool"]
    assert [effect.subject for effect in after[len(begun) :]] == ["1"]
    assert deployed.serving("cats") == 1


def test_a_request_during_the_teardown_wakes(deployed: Deployed) -> None:
    """It comes after the model was marked asleep and before its pods go."""
    deployed.run(2000)
    deployed.world.fail("workloads.scale", CloudRefused("kubernetes_500", "try later", ""))
    with pytest.raises(CloudRefused):
        deployed.tick()
    assert deployed.record("cats").asleep
    deployed.request("cats")
    deployed.tick()
    deployed.run()
    assert deployed.serving("cats") == 1
    assert not deployed.record("cats").asleep


def test_a_request_just_before_the_pods_go_keeps_them(deployed: Deployed) -> None:
    """The last use is read again after the decision."""
    deployed.run(2000)
    decision = deployed.teardown.decide()
    assert isinstance(decision, SleepModels)
    deployed.documents.put("activity/cats/other", b"")
    deployed.teardown._perform(decision)
    assert deployed.serving("cats") == 1


def test_a_teardown_cut_short_is_finished_by_the_next(deployed: Deployed) -> None:
    deployed.run(2000)
    deployed.world.fail("workloads.scale", CloudRefused("kubernetes_500", "try later", ""))
    with pytest.raises(CloudRefused):
        deployed.tick()
    assert deployed.kubernetes.replicas("cats") == {1: 1}
    assert isinstance(deployed.tick(), Stay)
    assert deployed.kubernetes.replicas("cats") == {1: 0}


def test_nothing_goes_while_another_instance_is_at_it(deployed: Deployed) -> None:
    deployed.run(2000)
    with deployed.documents.lease("cluster"):
        assert deployed.tick() is None
    assert deployed.serving("cats") == 1


def test_nothing_goes_during_a_rollout_however_long_it_takes(deployed: Deployed) -> None:
    deployed.run(2000)
    deployed.store.drop("cats.keras", "two")
    deployed.run(3)
    deployed.documents.blobs["models/cats.json"].modified -= timedelta(days=1)
    decision = deployed.tick()
    assert isinstance(decision, Stay) and "rollout" in decision.reason


def test_sleep_by_command_is_at_once_and_spares_a_model_in_a_rollout(deployed: Deployed) -> None:
    deployed.store.drop("dogs.keras", "one")
    deployed.run(2)
    deployed.control.order("sleep", None)
    assert deployed.record("cats").asleep
    assert not deployed.record("dogs").asleep


def test_wake_by_command_wakes_all_models(deployed: Deployed) -> None:
    deployed.control.order("sleep", None)
    deployed.run(60)
    assert deployed.control.order("wake", None)["state"] == "waking"
    deployed.run()
    assert deployed.serving("cats") == 1


def test_an_upload_wakes_the_cluster(deployed: Deployed) -> None:
    idle(deployed, 2 * HOUR)
    deployed.drop("cats.keras", "two")
    assert deployed.serving("cats") == 2
    assert deployed.cluster.state().power == "Running"


def test_a_model_on_cpu_does_not_keep_the_gpu_pool_up() -> None:
    deployed = Deployed()
    deployed.store.drop("cats.yaml", "gpus: 0", event=False)
    deployed.drop("cats.keras", "one")
    assert deployed.serving("cats") == 1
    assert isinstance(deployed.tick(), Stay)
    deployed.run(600)
    assert isinstance(deployed.tick(), EmptyPool)
    deployed.run(60)
    assert deployed.serving("cats") == 1


def test_the_decision_names_the_next_rung_and_when(deployed: Deployed) -> None:
    shown = deployed.control.cluster()["idle"]
    assert shown["rung"] is None and 0 < shown["due_in_seconds"] <= 1830


def test_a_pool_without_our_tag_is_never_touched() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    deployed.cluster.owned = False
    assert idle(deployed, 2 * HOUR) == ["Stay", "SleepModels", "Stay", "Withheld"]
    assert deployed.cluster.state().pool_count == 1
    assert "tag" in deployed.control.cluster()["idle"]["reason"]
    deployed.control.order("sleep", None)
    assert deployed.cluster.state().pool_count == 1


def test_hours_of_use_bring_a_model_back_before_they_begin() -> None:
    """Noon in July; its hours begin at nine the next morning, Berlin's time."""
    deployed = Deployed()
    deployed.store.drop(
        "cats.yaml", "idle: {keep_awake: [{cron: '0 9 * * *', hours: 8, zone: Europe/Berlin}]}", event=False
    )
    deployed.drop("cats.keras", "one")
    assert "SleepModels" in idle(deployed, 8 * HOUR)
    until = deployed.world.now.replace(hour=7, minute=0, second=0) + timedelta(days=1)
    while deployed.world.now < until:
        deployed.run(299)
        deployed.tick()
    assert deployed.serving("cats") == 1
    assert deployed.teardown.state.cluster().cause.why == "their hours begin"  # type: ignore[union-attr]  # it is there
    idle(deployed, 7 * HOUR)
    assert deployed.serving("cats") == 1
    idle(deployed, 2 * HOUR)
    assert deployed.serving("cats") is None


def test_a_timer_that_was_missing_for_hours_causes_no_burst(deployed: Deployed) -> None:
    """Whatever was missed, the first look only sees; from the next on the ladder is gone down rung by rung."""
    deployed.tick()
    deployed.run(8 * HOUR)
    assert isinstance(deployed.teardown.run(), Stay)
    assert isinstance(deployed.teardown.run(), SleepModels)
    assert isinstance(deployed.teardown.run(), Stay)
    assert deployed.cluster.state().pool_count == 1


def test_a_clock_that_jumps_ahead_and_back_takes_nothing_down(deployed: Deployed) -> None:
    deployed.tick()
    deployed.world.now += timedelta(days=3)
    assert isinstance(deployed.teardown.run(), Stay)
    deployed.world.now -= timedelta(days=3)
    assert isinstance(deployed.teardown.run(), Stay)
    assert deployed.serving("cats") == 1


def test_a_hold_keeps_everything_until_it_expires_or_is_released(deployed: Deployed) -> None:
    deployed.control.order("hold", 120)
    assert idle(deployed, 1.9 * HOUR) == ["Stay"]
    assert deployed.serving("cats") == 1
    assert deployed.control.cluster()["order"]["kind"] == "hold"
    assert "SleepModels" in idle(deployed, HOUR)
    deployed.control.order("wake", 600)
    deployed.run()
    assert idle(deployed, HOUR) == ["Stay"]
    deployed.control.release()
    assert "SleepModels" in idle(deployed, HOUR)


def test_a_cluster_is_deleted_only_with_setting_and_tag_and_models_stay() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    deployed.teardown = replace(deployed.teardown, policy=replace(IDLE, delete_after=timedelta(hours=5)))
    assert idle(deployed, 9 * HOUR)[-1] == "Withheld"
    assert not deployed.cluster.gone
    files = dict(deployed.servables.blobs)
    deployed.cluster.may_delete = True
    idle(deployed, HOUR / 2)
    assert deployed.cluster.gone
    assert (dict(deployed.servables.blobs), deployed.record("cats").desired) == (files, 1)


def test_after_a_start_that_failed_the_cluster_is_known_to_be_stopped_since_it_was(deployed: Deployed) -> None:
    idle(deployed, 2 * HOUR)
    before, estimate = deployed.state.cluster(), deployed.waker.estimate(deployed.record("cats"))
    deployed.run(HOUR / 2)
    deployed.cluster.failures = ["azure_capacity: no machines"] * 99
    deployed.request("cats")
    deployed.run(HOUR)  # the rollout is given up
    deployed.cluster.failures = []
    assert deployed.tick() == Stay("the cluster is stopped")
    after = deployed.state.cluster()
    assert (after.rung, after.slept, after.operation) == ("stopped", before.slept, None) and after.slept is not None
    assert deployed.record("cats").asleep and "azure_capacity" in str(after.failure)
    assert deployed.waker.estimate(deployed.record("cats")).eta_seconds == estimate.eta_seconds
    deployed.cluster.may_delete = True
    deployed.teardown = replace(deployed.teardown, policy=replace(IDLE, delete_after=timedelta(hours=2)))
    assert "DeleteCluster" in idle(deployed, HOUR)
