"""The Deployment controller's decisions, by properties: whatever pods do, the promises of a rolling update hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.kubernetes.controllers.deployment_plan import Counts, Replicas, Wanted, next_status, plan

NEW = "new"


def total(sizes: dict[str, Replicas]) -> int:
    return sum(revision.wanted for revision in sizes.values())


def available(sizes: dict[str, Replicas]) -> int:
    return sum(revision.available for revision in sizes.values())


def step(wanted: Wanted, sets: dict[str, Replicas]) -> dict[str, Replicas]:
    """Performs one plan: pods that are taken away are the unavailable ones first, as a ReplicaSet does."""
    old = [revision for name, revision in sets.items() if name != NEW]
    changed = dict(sets)
    for name, size in plan(wanted, sets.get(NEW), old).items():
        known = sets.get(name) or Replicas(NEW, 0, 0, wanted.replicas)
        changed[known.name] = replace(
            known, wanted=size, available=min(known.available, size), desired_before=wanted.replicas
        )  # fmt: skip
    return {name: replace(r, desired_before=wanted.replicas) for name, r in changed.items()}


@st.composite
def rollouts(draw: st.DrawFn) -> tuple[Wanted, dict[str, Replicas]]:
    """A Deployment in the middle of a roll-out: up to three old revisions, within its own limits."""
    replicas = draw(st.integers(0, 6))
    surge = draw(st.integers(0, 3))
    unavailable = draw(st.integers(0 if surge else 1, 3))
    wanted = Wanted(replicas, surge, min(unavailable, replicas), recreate=False)
    left = replicas
    sets: dict[str, Replicas] = {}
    for number in range(draw(st.integers(1, 3))):
        size = draw(st.integers(0, left))
        left -= size
        sets[f"old{number}"] = Replicas(f"old{number}", size, draw(st.integers(0, size)), replicas)
    if replicas and left:
        first = sets["old0"]
        sets["old0"] = replace(first, wanted=first.wanted + left)
    return wanted, sets


@given(rollouts(), st.lists(st.booleans(), max_size=12))
def test_no_step_takes_an_available_pod_below_the_minimum_nor_asks_for_more_than_the_surge(
    rollout: tuple[Wanted, dict[str, Replicas]], readiness: list[bool]
) -> None:
    wanted, sets = rollout
    least, most = wanted.replicas - wanted.max_unavailable, wanted.replicas + wanted.max_surge
    for ready in [*readiness, True]:
        after = step(wanted, sets)
        assert total(after) <= max(most, total(sets))
        if available(after) < available(sets):
            assert available(after) >= least
        sets = after
        if ready:  # every pod of one revision becomes ready
            name = next((n for n, r in sets.items() if r.available < r.wanted), None)
            if name is not None:
                sets[name] = replace(sets[name], available=sets[name].wanted)


@given(rollouts())
def test_a_rollout_whose_pods_become_ready_ends_with_only_the_new_revision(
    rollout: tuple[Wanted, dict[str, Replicas]],
) -> None:
    wanted, sets = rollout
    for _ in range(60):
        sets = {name: replace(r, available=r.wanted) for name, r in step(wanted, sets).items()}
    assert {name: r.wanted for name, r in sets.items() if r.wanted} == (
        {NEW: wanted.replicas} if wanted.replicas else {}
    )
    assert plan(wanted, sets[NEW], [r for n, r in sets.items() if n != NEW]) == {}


@given(rollouts(), st.booleans())
def test_recreate_starts_the_new_revision_only_once_no_old_pod_is_left(
    rollout: tuple[Wanted, dict[str, Replicas]], lingering: bool
) -> None:
    wanted = replace(rollout[0], recreate=True, max_surge=0)
    old = [replace(revision, lingering=lingering) for revision in rollout[1].values()]
    sizes = plan(wanted, None, old)
    running = any(revision.wanted for revision in old)
    if running or lingering:
        assert "" not in sizes
    else:
        assert sizes == {"": wanted.replicas}


@settings(max_examples=50)
@given(rollouts(), st.integers(0, 8))
def test_scaling_in_the_middle_of_a_rollout_keeps_within_the_new_limits(
    rollout: tuple[Wanted, dict[str, Replicas]], replicas: int
) -> None:
    wanted, sets = rollout
    sets = step(wanted, sets)
    scaled = replace(wanted, replicas=replicas, max_unavailable=min(wanted.max_unavailable, replicas))
    for _ in range(60):
        sets = {name: replace(r, available=r.wanted) for name, r in step(scaled, sets).items()}
    assert {name: r.wanted for name, r in sets.items() if r.wanted} == ({NEW: replicas} if replicas else {})


def test_one_gpu_and_surge_wait_for_the_new_pod_while_the_old_one_serves() -> None:
    wanted = Wanted.of({"replicas": 1, "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}})
    old = Replicas("old", 1, 1, 1)
    assert plan(wanted, None, [old]) == {"": 1}
    assert plan(wanted, Replicas(NEW, 1, 0, 1), [old]) == {}
    assert plan(wanted, Replicas(NEW, 1, 1, 1), [old]) == {"old": 0}


def test_percentages_round_up_for_surge_and_down_for_unavailability() -> None:
    """The defaults with one replica are one more pod, and none less."""
    assert Wanted.of({"replicas": 1, "strategy": {}}) == Wanted(1, 1, 0, recreate=False)
    assert Wanted.of({"replicas": 10, "strategy": {}}) == Wanted(10, 3, 2, recreate=False)


@pytest.mark.parametrize(("waited", "status"), [(5, "True"), (700, "False")])
def test_a_rollout_without_progress_fails_after_its_deadline(waited: int, status: str) -> None:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    deployment = {"metadata": {"name": "d", "generation": 1}, "spec": {"replicas": 1, "progressDeadlineSeconds": 600}}
    counts = Counts(asked=1, replicas=1, updated=1, ready=0, available=0, terminating=0)
    first = next_status(deployment, counts, "d-1", begun)
    later = next_status({**deployment, "status": first}, counts, "d-1", begun + timedelta(seconds=waited))
    progressing = next(c for c in later["conditions"] if c["type"] == "Progressing")
    assert progressing["status"] == status
