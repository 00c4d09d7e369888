"""A wake's stages: how long each took, and what remains of the one it is at and of those after it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.record import ClusterRecord, Operation, Reached, WakeTime
from deployer.settings import IdleSettings
from deployer.steps import Settled, WakeCluster
from deployer.wake_stages import Progress, expected, path, progress, reached, spent
from tests.deployed import IDLE, Deployed
from tests.fake_cluster import Pace

GUESSES = IdleSettings().wake_seconds
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
KNOWN = {"queued": 2.0, "gpu-pool": 300.0, "gpu-node": 60.0, "pods": 40.0, "proof": 3.0}
SEEN = WakeTime(rung="pool", seconds=405.0, stages=KNOWN)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def came(*stages: tuple[str, float]) -> tuple[Reached, ...]:
    return tuple(Reached(stage=stage, at=at(seconds)) for stage, seconds in stages)


def seen_at(
    seconds: float, *found: tuple[str, float], rung: str = "pool", on_gpu: bool = True, **cluster: Any
) -> Progress:  # fmt: skip
    record = ClusterRecord(updated=NOON, **cluster)
    return progress(
        came(*found), NOON, rung, record, GUESSES, at(seconds), on_gpu=on_gpu, restart_gap=timedelta(minutes=20)
    )


@pytest.mark.parametrize(("rung", "left"), [("pods", 60), ("pool", 420), ("stopped", 600), ("deleted", 600)])
def test_before_any_wake_was_seen_the_first_guess_is_told(rung: str, left: float) -> None:
    assert seen_at(0, rung=rung).left == pytest.approx(left)


@pytest.mark.parametrize(
    ("found", "now", "stage", "left"),
    [
        ((), 1, "queued", 1 + 403),
        ((("gpu-pool", 2),), 102, "gpu-pool", 200 + 103),
        ((("gpu-pool", 2), ("gpu-node", 302)), 302, "gpu-node", 60 + 43),
        ((("gpu-pool", 2), ("gpu-node", 302)), 500, "gpu-node", 0 + 43),
        ((("gpu-pool", 2), ("gpu-node", 302), ("pods", 362)), 382, "pods", 20 + 3),
        ((("gpu-pool", 2), ("gpu-node", 302), ("pods", 362), ("proof", 402)), 402, "proof", 3),
    ],
)
def test_what_remains_is_the_rest_of_the_stage_and_those_after_it(
    found: tuple[tuple[str, float], ...], now: float, stage: str, left: float
) -> None:
    told = seen_at(now, *found, wake_times=(SEEN,))
    assert told.stage == stage and told.left == pytest.approx(left)
    assert [item.stage for item in told.stages] == list(KNOWN)
    begun = [item.stage for item in told.stages if item.seconds is not None]
    assert begun == ["queued", *(name for name, _ in found)]
    assert {item.stage: item.expected for item in told.stages} == KNOWN


def test_a_stage_that_outlasts_all_but_some_is_measured_by_those() -> None:
    times = tuple(
        WakeTime(rung="pool", seconds=9, stages={**KNOWN, "gpu-pool": took}) for took in (200.0, 210.0, 500.0)
    )
    assert seen_at(100, ("gpu-pool", 0), wake_times=times).left == pytest.approx(110 + 103)
    assert seen_at(300, ("gpu-pool", 0), wake_times=times).left == pytest.approx(200 + 103)
    assert seen_at(900, ("gpu-pool", 0), wake_times=times).left == pytest.approx(103)


def test_wakes_from_the_same_rung_are_believed_before_others() -> None:
    others = WakeTime(rung="stopped", seconds=900.0, stages={**KNOWN, "cluster": 200.0, "pods": 90.0})
    assert expected("pods", "pool", (SEEN, others), GUESSES) == 40
    assert expected("pods", "stopped", (SEEN, others), GUESSES) == 90
    assert expected("pods", "pods", (SEEN,), GUESSES) == 40


def test_wakes_that_were_timed_as_a_whole_stretch_the_first_guess() -> None:
    """Records of an earlier Slipway know no stages."""
    assert seen_at(0, wake_times=(WakeTime(rung="pool", seconds=840.0),)).left == pytest.approx(840)


@pytest.mark.parametrize("passed", [0, 300, 1199])
def test_the_pause_that_aks_wants_after_a_stop_is_waited_for_as_well(passed: float) -> None:
    cluster = ClusterRecord(updated=NOON, rung="stopped", slept=at(-passed))
    for found in ((), came(("restart-gap", 0))):
        told = progress(
            found, NOON, "stopped", cluster, GUESSES, NOON, on_gpu=True, restart_gap=timedelta(minutes=20)
        )  # fmt: skip
        assert told.left == pytest.approx(1200 - passed + 600)


def test_what_another_model_began_counts_from_then() -> None:
    operation = Operation(kind="pool", started=at(-100), token="t", target=1)
    told = seen_at(0, operation=operation, wake_times=(SEEN,))
    assert told.stage == "gpu-pool" and told.left == pytest.approx(200 + 103)
    leaving = Operation(kind="pool", started=at(-100), token="t", target=0)
    assert seen_at(0, operation=leaving, wake_times=(SEEN,)).stage == "queued"
    assert seen_at(0, operation=operation, on_gpu=False, rung="pods").stage == "queued"


def test_a_model_on_cpu_waits_for_no_gpu() -> None:
    assert path("stopped", on_gpu=False) == ("cluster", "pods", "proof")
    assert seen_at(0, rung="stopped", on_gpu=False, wake_times=(SEEN,)).left == pytest.approx(2 + 180 + 43)


@given(st.lists(st.tuples(st.sampled_from(sorted(KNOWN)), st.floats(0, 900)), max_size=9), st.floats(-50, 900))
def test_the_stages_of_a_wake_add_up_to_it(found: list[tuple[str, float]], begun: float) -> None:
    ordered = sorted(found, key=lambda item: item[1])
    seconds = spent(came(*ordered), at(begun), at(900))
    assert sum(seconds.values()) == pytest.approx(900 - begun, abs=1e-3)
    assert min(seconds.values()) >= 0


def test_a_rollout_that_goes_round_and_round_notes_no_more_than_it_may() -> None:
    found: tuple[Reached, ...] = ()
    for number in range(99):
        found = reached(found, WakeCluster(start=number % 2 == 0, nodes=1, pool="gpu"), at(number))
    assert 10 < len(found) < 30
    assert reached((), Settled("v1 serves"), NOON) == ()


def test_a_first_version_on_its_way_to_an_empty_pool_is_told_the_pools_time() -> None:
    deployed = Deployed(pool_count=0)
    deployed.tick()
    deployed.store.drop("cats.keras", "one")
    deployed.run(0)
    told = deployed.waker.estimate(deployed.record("cats"))
    assert 400 < told.eta_seconds <= 420
    assert [item["stage"] for item in told.stages][-4:] == ["gpu-pool", "gpu-node", "pods", "proof"]


def wake_and_watch(deployed: Deployed) -> list[tuple[float, float, str]]:
    """A request, and until the model serves what a caller is told: the moment, what remains, the stage."""
    told: list[tuple[float, float, str]] = []
    begun = deployed.world.now
    deployed.request("cats")
    while deployed.record("cats").route is None:
        found = deployed.waker.estimate(deployed.record("cats"))
        begun_stages = [item["stage"] for item in found.stages if item["seconds"] is not None]
        assert found.stage == begun_stages[-1]
        told.append(((deployed.world.now - begun).total_seconds(), found.eta_seconds, found.stage))
        deployed.run(0)
    return told


@pytest.mark.parametrize(
    ("rung", "rests", "stages"),
    [
        ("pods", 0, ["queued", "pods"]),
        ("pool", 60, ["queued", "gpu-pool", "gpu-node", "pods"]),
        ("stopped", 60, ["queued", "restart-gap", "cluster", "gpu-pool", "gpu-node", "pods"]),
        ("stopped", 2000, ["queued", "cluster", "gpu-pool", "gpu-node", "pods"]),
    ],
    ids=["pods", "pool", "just stopped", "stopped"],
)
def test_after_some_wakes_the_estimate_is_right_at_every_moment(rung: str, rests: float, stages: list[str]) -> None:
    """Within the pauses between two looks. The proof takes no time in this world."""
    pace = Pace(start=200, stop=40, pool=300, node_join=60, pod_start=45)
    deployed = Deployed(pace=pace).drop("cats.keras", "one", seconds=2000)
    policy = replace(deployed.rollouts.policy, restart_gap=IDLE.restart_gap)
    deployed.rollouts = replace(deployed.rollouts, policy=policy)
    for _ in range(2):
        while deployed.control.cluster()["state"] != rung:
            deployed.run(299)
            deployed.tick()
        deployed.run(rests)
        told = wake_and_watch(deployed)
        deployed.run()
    end = told[-1][0]
    wrong = [(moment, left, stage) for moment, left, stage in told if abs(end - moment - left) > 12]
    assert not wrong, told
    assert list(dict.fromkeys(stage for _, _, stage in told)) == stages
    times = deployed.state.cluster().wake_times[-1]
    assert times.rung == rung and sum(times.stages.values()) == pytest.approx(times.seconds, abs=0.01)
