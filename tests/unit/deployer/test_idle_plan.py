"""The idle ladder's next rung: a table of situations, and what holds in all of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.idle import Decision, EmptyPool, IdlePolicy, ModelUse, SleepModels, Stay, StopCluster, plan_idle
from deployer.ports import ClusterState
from deployer.record import ClusterRecord, Operation, Wake

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = IdlePolicy(
    enabled=True, pool_after=5 * MINUTE, stop_after=60 * MINUTE, note=0.5 * MINUTE, wake_limit=45 * MINUTE
)  # fmt: skip
UP = ClusterState("Running", busy=False, pool_count=1, provisioning="Succeeded")
EMPTY = replace(UP, pool_count=0)
RECORD = ClusterRecord(updated=NOON - 600 * MINUTE)


def use(model: str, *, ago: float, asleep: bool = False, settled: bool = True, gpu: bool = True) -> ModelUse:
    return ModelUse(model, NOON - ago * MINUTE, 30 * MINUTE, gpu, asleep, settled)


def known(**more: Any) -> ClusterRecord:
    return RECORD.but(**more)


SLEPT = known(slept=NOON - 60 * MINUTE)
OPERATION = Operation(kind="pool", started=NOON, token="t")


@pytest.mark.parametrize(
    ("uses", "cluster", "record", "wanted"),
    [
        ([use("a", ago=10)], UP, RECORD, Stay("models are in use", NOON + 20.5 * MINUTE)),
        ([use("a", ago=30.4)], UP, RECORD, Stay("models are in use", NOON + 0.1 * MINUTE)),
        ([use("a", ago=30.5)], UP, RECORD, SleepModels(("a",), "no request for long enough")),
        ([use("a", ago=31), use("b", ago=1)], UP, RECORD, SleepModels(("a",), "no request for long enough")),
        ([use("a", ago=31), use("b", ago=40)], UP, RECORD, SleepModels(("a", "b"), "no request for long enough")),
        (
            [use("a", ago=4, asleep=True)], UP, RECORD,
            Stay("the GPU pool waits a little for a request", NOON + 1 * MINUTE),
        ),
        ([use("a", ago=5, asleep=True)], UP, RECORD, EmptyPool("no model that takes a GPU is awake")),
        ([use("a", ago=90, asleep=True), use("b", ago=2)], UP, RECORD, Stay("models are in use", NOON + 28.5 * MINUTE)),
        (
            [use("a", ago=90, asleep=True), use("b", ago=2, gpu=False)], UP, RECORD,
            EmptyPool("no model that takes a GPU is awake"),
        ),
        ([], UP, RECORD, EmptyPool("no model that takes a GPU is awake")),
        ([use("a", ago=70, asleep=True)], EMPTY, SLEPT, StopCluster("the GPU pool has been empty for long enough")),
        (
            [use("a", ago=70, asleep=True)], EMPTY, known(slept=NOON - 50 * MINUTE),
            Stay("the pool is empty", NOON + 10 * MINUTE),
        ),
        (
            [use("a", ago=70, asleep=True), use("b", ago=1, gpu=False)], EMPTY, SLEPT,
            Stay("models are in use", NOON + 29.5 * MINUTE),
        ),
        # what hinders
        ([use("a", ago=99)], replace(UP, busy=True, provisioning="Updating"), RECORD, Stay("the cluster is updating")),
        ([use("a", ago=99)], UP, known(operation=OPERATION), Stay("the end of an operation has not been seen yet")),
        ([use("a", ago=99)], replace(EMPTY, power="Stopped"), SLEPT, Stay("the cluster is stopped")),
        ([use("a", ago=99)], UP, known(held_until=NOON + MINUTE), Stay("held until 12:01")),
        ([use("a", ago=99), use("b", ago=99, settled=False)], UP, RECORD, Stay("a rollout is under way (b)")),
        (
            [use("a", ago=99)], UP, known(wake=Wake(started=NOON - 44 * MINUTE, rung="pool", by="request")),
            Stay("a wake is under way"),
        ),
        # what hinders no longer
        (
            [use("a", ago=99)], UP, known(held_until=NOON),
            SleepModels(("a",), "no request for long enough"),
        ),
        (
            [use("a", ago=99)], UP, known(wake=Wake(started=NOON - 45 * MINUTE, rung="pool", by="request")),
            SleepModels(("a",), "no request for long enough"),
        ),
    ],
)  # fmt: skip
def test_each_situation_has_its_rung(
    uses: list[ModelUse], cluster: ClusterState, record: ClusterRecord, wanted: Decision
) -> None:
    assert plan_idle(uses, cluster, record, POLICY, NOON) == wanted


def test_switched_off_means_that_nothing_ever_goes() -> None:
    off = replace(POLICY, enabled=False)
    assert isinstance(plan_idle([use("a", ago=9999)], UP, RECORD, off, NOON), Stay)


def test_the_cluster_is_never_stopped_unless_asked_for() -> None:
    never = replace(POLICY, stop_after=None)
    asleep = [use("a", ago=9999, asleep=True)]
    assert plan_idle(asleep, EMPTY, known(slept=NOON - 9999 * MINUTE), never, NOON) == Stay("all models are asleep")


uses = st.lists(
    st.builds(
        ModelUse, st.sampled_from(["a", "b", "c"]), st.integers(0, 9000).map(lambda ago: NOON - ago * MINUTE / 60),
        st.sampled_from([1 * MINUTE, 30 * MINUTE, 120 * MINUTE]), st.booleans(), st.booleans(), st.booleans(),
    ),
    max_size=3, unique_by=lambda item: item.model,
)  # fmt: skip
clusters = st.builds(
    ClusterState, st.sampled_from(["Running", "Stopped"]), st.booleans(), st.integers(0, 2), st.just("Updating")
)
moments = st.none() | st.integers(-100, 100).map(lambda minutes: NOON + minutes * MINUTE)
records = st.builds(
    ClusterRecord, updated=moments.filter(lambda moment: moment is not None), operation=st.none() | st.just(OPERATION),
    held_until=moments, slept=moments,
    wake=st.none() | moments.filter(lambda moment: moment is not None).map(
        lambda moment: Wake(started=moment or NOON, rung="pool", by="request")
    ),
)  # fmt: skip


@given(uses, clusters, records)
def test_nothing_goes_during_a_rollout_a_wake_an_operation_or_a_hold(
    uses: list[ModelUse], cluster: ClusterState, record: ClusterRecord
) -> None:
    decision = plan_idle(uses, cluster, record, POLICY, NOON)
    if isinstance(decision, Stay):
        return
    assert cluster.power == "Running" and not cluster.busy and record.operation is None
    assert all(item.settled for item in uses)
    assert record.held_until is None or record.held_until <= NOON
    assert record.wake is None or NOON - record.wake.started >= POLICY.wake_limit
    if isinstance(decision, SleepModels):
        by_name = {item.model: item for item in uses}
        assert decision.models and all(
            not by_name[name].asleep and NOON - by_name[name].used >= by_name[name].after + POLICY.note
            for name in decision.models
        )
    if isinstance(decision, EmptyPool):
        assert cluster.pool_count and all(item.asleep for item in uses if item.needs_gpu)
    if isinstance(decision, StopCluster):
        assert cluster.pool_count == 0 and all(item.asleep for item in uses)


@given(uses, records)
def test_left_alone_everything_is_down_in_the_end(uses: list[ModelUse], record: ClusterRecord) -> None:
    """Whatever the beginning: without requests the ladder is gone down to its end, in the order of its rungs."""
    uses = [replace(item, settled=True) for item in uses]
    cluster, record, now = UP, record.but(operation=None), NOON
    rungs: list[str] = []
    for _ in range(200):
        now += 5 * MINUTE
        match plan_idle(uses, cluster, record, POLICY, now):
            case SleepModels(models):
                uses = [replace(item, asleep=True, used=now) if item.model in models else item for item in uses]
                rungs.append("pods")
            case EmptyPool():
                cluster, record = replace(cluster, pool_count=0), record.but(slept=now)
                rungs.append("pool")
            case StopCluster():
                cluster = replace(cluster, power="Stopped")
                rungs.append("stopped")
            case Stay(due=due):
                assert due is None or due > now
    assert cluster.power == "Stopped"
    assert rungs[-1] == "stopped" and rungs.count("pool") == 1
