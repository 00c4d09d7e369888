"""What another instance, a stale listing or a lost message does between two calls of a look at work."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from deployer.errors import ClusterUnreachable
from deployer.ports import JobState, PodFailure
from tests.deployed import IN_FUNCTION, Deployed
from tests.fake_cluster import Pace
from tests.fakes import Effect, Fault

AS_JOBS = replace(IN_FUNCTION, where="job")


def once(deployed: Deployed, name: str, act: Callable[[], object]) -> list[str]:
    """Has this done right after the first call of that name; the list tells when it was."""
    done: list[str] = []

    def watch(effect: Effect) -> None:
        if effect.name == name and not done:
            done.append(name)
            act()

    deployed.world.watch = watch
    return done


@pytest.mark.parametrize("rolled_back", [False, True], ids=["a new version", "a rollback"])
def test_a_look_that_finds_nothing_to_do_ends_no_other_chain_of_looks(rolled_back: bool) -> None:
    deployed = Deployed(gpus=2, pool_count=2).drop("cats.keras", "one")
    if rolled_back:
        deployed.drop("cats.keras", "two")

    def meanwhile() -> None:
        if rolled_back:
            deployed.control.rollback("cats", None)
        else:
            deployed.store.drop("cats.keras", "two", event=False)
            deployed.uploads.take("cats.keras")
        message = deployed.queue.take()
        assert message is not None
        deployed.rollouts.advance("cats", message.chain)

    done = once(deployed, "workloads.selected", meanwhile)
    deployed.rollouts.advance("cats")
    assert done
    deployed.run(600)  # without a sweep
    assert deployed.serving("cats") == (1 if rolled_back else 2)


def test_jobs_under_way_keep_no_other_upload_from_the_sweep() -> None:
    deployed = Deployed(jobs=AS_JOBS, pace=Pace(pod_start=30 * 60))
    for letter in "abcdef":
        deployed.store.drop(f"a{letter}.keras", letter, event=False)
        deployed.uploads.take(f"a{letter}.keras")
    deployed.store.drop("zebra.keras", "z", event=False)
    for _ in range(4):
        deployed.run(60)
        deployed.sweep.run()
    assert deployed.record("zebra").upload is not None


def test_an_upload_that_came_anew_is_not_retired_by_what_the_sweep_listed_before() -> None:
    deployed = Deployed(gpus=2, pool_count=2, retire_deleted=True).drop("cats.keras", "one")
    del deployed.store.blobs["cats.keras"]
    deployed.store.drop("dogs.keras", "dog", event=False)
    deployed.world.pass_time(100)

    def during() -> None:
        deployed.exporter.during = lambda: None
        deployed.store.drop("cats.keras", "two", event=False)
        deployed.uploads.take("cats.keras")

    deployed.exporter.during = during
    deployed.sweep.run()
    deployed.run(600)
    assert deployed.serving("cats") == 2


def test_a_model_dropped_after_a_removal_in_a_stopped_cluster_is_converted_by_its_first_job() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    for _ in range(40):
        deployed.run(299)
        deployed.tick()
    assert deployed.cluster.state().power == "Stopped"
    deployed.control.remove("cats", uploads=False)
    deployed.jobs = AS_JOBS
    deployed.restart()
    deployed.drop("cats.keras", "two", seconds=3600)
    for _ in range(12):
        deployed.sweep.run()
        deployed.run(60)
    record = deployed.record("cats")
    assert record.upload is not None and record.upload.attempts <= 1
    assert not [entry for entry in record.decisions if "ended without a result" in f"{entry.what} {entry.why}"]
    assert deployed.serving("cats") == 2


def test_wakes_are_ordered_while_a_bridge_is_proven() -> None:
    deployed = Deployed()
    deployed.bridged = True
    deployed.restart()
    deployed.drop("cats.keras", "one").drop("dogs.keras", "two")
    deployed.control.order("sleep", None)
    deployed.run(120)
    deployed.state.change_cluster(lambda record: record.but(order=None))
    deployed.teardown.run()
    deployed.run(60)
    begun: list[str] = []

    def meanwhile() -> None:
        deployed.waker.wake("dogs", by="request")
        for _ in range(5):
            message = deployed.queue.take()
            assert message is not None
            deployed.rollouts.advance(message.model, message.chain)
            deployed.world.pass_time(2)
        begun.extend(effect.name for effect in deployed.world.effects if effect.name.startswith("cluster.begin_pool"))

    deployed.world.effects.clear()
    done = once(deployed, "server.predict", meanwhile)
    for _ in range(4):
        deployed.teardown.run()
        deployed.world.pass_time(30)
    assert done and begun


def test_a_deaf_kubernetes_api_keeps_no_idle_pool_up() -> None:
    deployed = Deployed(gpus=2, pool_count=2).drop("cats.keras", "one").drop("dogs.keras", "two")
    deaf = ClusterUnreachable("kubernetes_unreachable", "It gives no answer.")
    deployed.world.faults.append(Fault(lambda effect: effect.name.startswith("workloads."), deaf, times=10**9))
    for _ in range(9):
        deployed.world.pass_time(300)
        try:
            deployed.teardown.run()
        except ClusterUnreachable:
            continue
    assert deployed.cluster.state().pool_count == 0


def test_a_retried_upload_leaves_no_job_behind() -> None:
    deployed = Deployed(jobs=AS_JOBS, pace=Pace(pod_start=30 * 60))
    deployed.kubernetes.job_failures = [PodFailure("Unschedulable", "0/1 nodes are available", fatal=False)]
    deployed.store.drop("cats.keras", "one", event=False)
    deployed.uploads.take("cats.keras")
    (job,) = deployed.kubernetes.jobs.values()
    job.state = JobState("active", job.told)
    deployed.run(30)
    deployed.control.retry("cats")
    deployed.sweep.run()
    deployed.run(120)
    assert len(deployed.kubernetes.jobs) == 1
    assert job.name not in deployed.state.cluster().exports


def test_a_job_whose_message_was_lost_lets_the_cluster_go_when_it_has_ended() -> None:
    deployed = Deployed(jobs=AS_JOBS)
    deployed.store.drop("dogs.keras", "dog", event=False)
    deployed.uploads.take("dogs.keras")
    deployed.queue.messages[:] = [message for message in deployed.queue.messages if message.job is None]
    deployed.run(300)
    assert deployed.record("dogs").desired == 1
    assert deployed.state.cluster().exports == {}
