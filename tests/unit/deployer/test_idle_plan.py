"""The idle ladder's next rung: a table of situations, and what holds in all of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.economy import economy
from deployer.forecast import Situation, forecast
from deployer.idle import (
    Decision,
    DeleteCluster,
    EmptyPool,
    IdlePolicy,
    ModelUse,
    SleepModels,
    Stay,
    StopCluster,
    WakeModels,
    Withheld,
    plan_idle,
)
from deployer.ports import ClusterState
from deployer.record import ClusterRecord, Operation, Order, Wake
from deployer.windows import NO_HOURS, Hours, Window

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)  # a Wednesday
MINUTE = timedelta(minutes=1)
POLICY = IdlePolicy(
    enabled=True, pool_after=5 * MINUTE, stop_after=60 * MINUTE, note=0.5 * MINUTE, wake_limit=45 * MINUTE
)  # fmt: skip
ECONOMY = economy([], {"pods": 60, "pool": 480, "stopped": 600, "deleted": 1800}, {"pool": 0.5, "stopped": 0.7}, "USD")
UP = ClusterState("Running", busy=False, pool_count=1, provisioning="Succeeded", pool_owned=True, owned=True)
EMPTY = replace(UP, pool_count=0)
STOPPED = replace(EMPTY, power="Stopped")
RECORD = ClusterRecord(
    updated=NOON, looked=NOON - 5 * MINUTE, unneeded=NOON - 5 * MINUTE, woke=NOON - 600 * MINUTE
)  # fmt: skip
OFFICE = Hours((Window(cron="0 9 * * mon-fri", hours=9),))


def use(
    model: str, *, ago: float, asleep: bool = False, settled: bool = True, gpu: bool = True, hours: Hours = NO_HOURS
) -> ModelUse:
    return ModelUse(model, NOON - ago * MINUTE, 30 * MINUTE, gpu, asleep, settled, hours=hours)


def known(**more: Any) -> ClusterRecord:
    return RECORD.but(**more)


def order(kind: str, minutes: float) -> ClusterRecord:
    return known(order={"kind": kind, "until": NOON + minutes * MINUTE, "by": "ann", "at": NOON - 60 * MINUTE})


def plan(uses: list[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy = POLICY) -> Decision:
    return plan_idle(uses, cluster, record, policy, ECONOMY, NOON)


SLEPT = known(slept=NOON - 60 * MINUTE, rung="pool")
OPERATION = Operation(kind="pool", started=NOON, token="t")
NO_GPU = EmptyPool("no model that takes a GPU is awake")
SYSTEM_POOL = Stay("the GPU pool is a System pool, and AKS lets only User pools go to 0")
LATE = Stay("the first look after a pause; the next one decides")
UNTAGGED = "the {} does not carry the tag 'slipway': dry run. Tag it 'slipway=owned' if nobody else uses it"
IDLE = SleepModels(("a",), "no request for long enough")


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
            Stay("the GPU pool is empty", NOON + 10 * MINUTE),
        ),
        (
            [use("a", ago=70, asleep=True), use("b", ago=1, gpu=False)], EMPTY, SLEPT,
            Stay("models are in use", NOON + 29.5 * MINUTE),
        ),
        # what hinders
        ([use("a", ago=99)], replace(UP, busy=True, provisioning="Updating"), RECORD, Stay("the cluster is updating")),
        ([use("a", ago=99)], UP, known(operation=OPERATION), Stay("the end of an operation has not been seen yet")),
        ([use("a", ago=99)], replace(EMPTY, power="Stopped"), SLEPT, Stay("the cluster is stopped")),
        ([use("a", ago=99)], UP, order("hold", 1), Stay("held by ann until 01 Jul 12:01", NOON + MINUTE)),
        ([use("a", ago=99)], UP, order("wake", 1), Stay("held by ann until 01 Jul 12:01", NOON + MINUTE)),
        ([use("a", ago=99)], UP, known(looked=None), LATE),
        ([use("a", ago=99)], UP, known(looked=NOON - 17 * MINUTE), LATE),
        ([use("a", ago=99)], UP, known(looked=NOON + MINUTE), LATE),
        (
            [use("a", ago=99, hours=OFFICE)], UP, RECORD,
            Stay("inside the hours of use", NOON + 6 * 60 * MINUTE),
        ),
        ([], replace(UP, pool_mode="System"), RECORD, SYSTEM_POOL),
        ([use("a", ago=99), use("b", ago=99, settled=False)], UP, RECORD, Stay("a rollout is under way (b)")),
        (
            [use("a", ago=99)], UP, known(wakes={"a": Wake(started=NOON - 44 * MINUTE, rung="pool", by="request")}),
            Stay("a wake is under way"),
        ),
        # what hinders no longer
        (
            [use("a", ago=99)], UP, order("hold", 0), IDLE,
        ),
        (
            [use("a", ago=99)], UP, known(wakes={"a": Wake(started=NOON - 45 * MINUTE, rung="pool", by="request")}),
            IDLE,
        ),
        ([use("a", ago=99)], UP, order("sleep", 60), IDLE),
        # what comes back unasked
        (
            [use("a", ago=600, asleep=True, hours=OFFICE), use("b", ago=600, asleep=True)], EMPTY, SLEPT,
            WakeModels(("a",), "their hours begin"),
        ),
        # only said
        ([], replace(UP, pool_owned=False), RECORD, Withheld(NO_GPU, UNTAGGED.format("GPU pool"))),
        (
            [use("a", ago=70, asleep=True)], replace(EMPTY, owned=False), SLEPT,
            Withheld(StopCluster("the GPU pool has been empty for long enough"), UNTAGGED.format("cluster")),
        ),
    ],
)  # fmt: skip
def test_each_situation_has_its_rung(
    uses: list[ModelUse], cluster: ClusterState, record: ClusterRecord, wanted: Decision
) -> None:
    assert plan(uses, cluster, record) == wanted


def test_switched_off_means_that_nothing_ever_goes() -> None:
    off = replace(POLICY, enabled=False)
    assert isinstance(plan([use("a", ago=9999)], UP, RECORD, off), Stay)


def test_the_cluster_is_never_stopped_unless_asked_for() -> None:
    never = replace(POLICY, stop_after=None)
    asleep = [use("a", ago=9999, asleep=True)]
    assert plan(asleep, EMPTY, known(slept=NOON - 9999 * MINUTE), never) == Stay("all models are asleep")


def test_a_model_put_to_sleep_inside_its_hours_is_not_woken_by_them() -> None:
    asleep = replace(use("a", ago=60, asleep=True, hours=OFFICE), changed=NOON - 60 * MINUTE)
    assert isinstance(plan([asleep], EMPTY, known(slept=NOON - 60 * MINUTE), replace(POLICY, stop_after=None)), Stay)


def test_a_wake_begins_early_enough_for_the_hours_of_use() -> None:
    """Nine wakes of ten from an empty pool take 480 s here, and the timer looks every five minutes."""
    asleep = use("a", ago=600, asleep=True, hours=Hours((Window(cron="13 12 * * *", hours=1),)))
    assert plan([asleep], EMPTY, SLEPT) == WakeModels(("a",), "their hours begin")
    later = use("a", ago=600, asleep=True, hours=Hours((Window(cron="14 12 * * *", hours=1),)))
    assert plan([later], EMPTY, SLEPT, replace(POLICY, stop_after=None)) == Stay("all models are asleep", NOON + MINUTE)


def test_hours_do_not_wake_against_an_order_to_sleep() -> None:
    asleep = use("a", ago=600, asleep=True, hours=OFFICE)
    record = order("sleep", 30).but(slept=NOON - 9 * MINUTE, rung="pool")
    assert isinstance(plan([asleep], EMPTY, record), Stay)


def test_hours_do_not_wake_what_is_held_as_it_is() -> None:
    asleep = use("a", ago=600, asleep=True, hours=OFFICE)
    held = order("hold", 30).but(slept=NOON - 9 * MINUTE, rung="pool")
    assert plan([asleep], EMPTY, held) == Stay("held by ann until 01 Jul 12:30", NOON + 30 * MINUTE)
    assert isinstance(plan([asleep], EMPTY, order("hold", 0).but(rung="pool")), WakeModels)


def test_the_pool_stays_where_hours_of_use_begin_too_soon_to_save_anything() -> None:
    soon = use("a", ago=60, asleep=True, hours=Hours((Window(cron="15 12 * * *", hours=1),)))
    decision = plan([soon], UP, RECORD)
    assert isinstance(decision, Stay) and "12:15" in decision.reason


def test_a_rung_that_is_too_slow_to_come_back_from_is_not_gone_to() -> None:
    quick = replace(POLICY, max_wake=timedelta(seconds=479))
    decision = plan([use("a", ago=60, asleep=True)], UP, RECORD, quick)
    assert isinstance(decision, Stay) and "480 s" in decision.reason and "479 s" in decision.reason
    assert isinstance(plan([use("a", ago=60, asleep=True)], UP, RECORD, replace(quick, max_wake=8 * MINUTE)), EmptyPool)


def test_without_a_time_of_its_own_the_pool_goes_as_soon_as_that_pays() -> None:
    """A start of 480 s is paid for; so after 480 s without use."""
    paying = replace(POLICY, pool_after=None)
    assert plan([use("a", ago=7.9, asleep=True)], UP, RECORD, paying) == Stay(
        "the GPU pool waits a little for a request", NOON + 0.1 * MINUTE
    )
    assert isinstance(plan([use("a", ago=8, asleep=True)], UP, RECORD, paying), EmptyPool)


def test_after_very_long_one_model_is_woken_to_see_that_it_can_be() -> None:
    tested = replace(POLICY, max_asleep=timedelta(days=7), stop_after=None)
    week = 7 * 24 * 60
    models = [use("a", ago=week, asleep=True), use("b", ago=week + 1, asleep=True)]
    decision = plan(models, EMPTY, known(slept=NOON - week * MINUTE), tested)
    assert isinstance(decision, WakeModels) and decision.models == ("b",)
    models[0] = use("a", ago=week - 1, asleep=True)
    assert isinstance(plan(models, EMPTY, known(slept=NOON - week * MINUTE), tested), Stay)


@pytest.mark.parametrize("asked_for", [None, timedelta(days=30)])
@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("owned", [False, True])
def test_a_stopped_cluster_is_deleted_only_if_asked_for_and_confirmed_and_ours(
    asked_for: timedelta | None, confirmed: bool, owned: bool
) -> None:
    cluster = replace(STOPPED, may_delete=confirmed, owned=owned)
    record = known(slept=NOON - timedelta(days=31), rung="stopped")
    decision = plan([use("a", ago=99999, asleep=True)], cluster, record, replace(POLICY, delete_after=asked_for))
    if asked_for is None:
        assert isinstance(decision, Stay)
    elif confirmed and owned:
        assert isinstance(decision, DeleteCluster)
    else:
        assert isinstance(decision, Withheld) and isinstance(decision.decision, DeleteCluster)


def test_the_forecast_tells_every_rung_and_the_wake_of_the_next_morning() -> None:
    situation = Situation((use("a", ago=0, hours=OFFICE),), UP, RECORD)
    coming = forecast(situation, POLICY, ECONOMY, NOON, gpu_nodes=1, until=NOON + timedelta(hours=24))
    told = [(type(item.decision).__name__, item.at.strftime("%H:%M")) for item in coming]
    assert told[:4] == [
        ("SleepModels", "18:00"), ("EmptyPool", "18:05"), ("StopCluster", "19:05"), ("WakeModels", "08:45"),
    ]  # fmt: skip


hours = st.sampled_from([NO_HOURS, OFFICE, Hours((Window(cron="30 11 * * *", hours=0.5, zone="Europe/Berlin"),))])
moments = st.integers(-9000, 300).map(lambda minutes: NOON + minutes * MINUTE)
uses = st.lists(
    st.builds(
        ModelUse, st.sampled_from(["a", "b", "c"]), st.integers(-500, 9000).map(lambda ago: NOON - ago * MINUTE / 60),
        st.sampled_from([1 * MINUTE, 30 * MINUTE, 120 * MINUTE]), st.booleans(), st.booleans(), st.booleans(),
        st.none() | moments, st.sampled_from([0 * MINUTE, 20 * MINUTE]), hours,
    ),
    max_size=3, unique_by=lambda item: item.model,
)  # fmt: skip
clusters = st.builds(
    ClusterState, st.sampled_from(["Running", "Stopped"]), st.booleans(), st.integers(0, 2), st.just("Updating"),
    st.just("Standard_NC4as_T4_v3"), st.sampled_from(["User", "System"]), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
orders = st.none() | st.builds(
    Order,
    kind=st.sampled_from(["sleep", "wake", "hold"]),
    until=moments,
    by=st.just("ann"),
    at=st.just(NOON - 60 * MINUTE),
)
records = st.builds(
    ClusterRecord, updated=moments, operation=st.none() | st.just(OPERATION), order=orders, slept=st.none() | moments,
    woke=st.none() | moments, unneeded=st.none() | moments, looked=st.none() | st.just(NOON - 5 * MINUTE) | moments,
    rung=st.sampled_from([None, "pool", "stopped"]),
    wakes=st.dictionaries(
        st.sampled_from(["a", "b"]), moments.map(lambda moment: Wake(started=moment, rung="pool", by="request"))
    ),
)  # fmt: skip
policies = st.builds(
    IdlePolicy, enabled=st.just(True), pool_after=st.sampled_from([None, 5 * MINUTE]),
    stop_after=st.sampled_from([None, 60 * MINUTE]), note=st.just(0.5 * MINUTE), wake_limit=st.just(45 * MINUTE),
    delete_after=st.sampled_from([None, 600 * MINUTE]), min_awake=st.sampled_from([0 * MINUTE, 15 * MINUTE]),
    max_asleep=st.sampled_from([None, 6000 * MINUTE]), max_wake=st.sampled_from([None, 9 * MINUTE]),
)  # fmt: skip


@given(uses, clusters, records, policies)
def test_whatever_the_situation_nothing_goes_that_may_not(
    uses: list[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy
) -> None:
    """Total for any input; nothing in a rollout, wake, operation, hold, window, minimum, or at a late look."""
    decision = plan(uses, cluster, record, policy)
    match decision:
        case Stay():
            return
        case WakeModels(models):
            assert models and all(item.asleep for item in uses if item.model in models)
            assert record.order is None or record.order.kind == "wake" or record.order.until <= NOON
            return
        case Withheld(inner):
            assert not (cluster.pool_owned if isinstance(inner, EmptyPool) else cluster.owned and cluster.may_delete)
    assert not cluster.busy and record.operation is None
    assert all(item.settled for item in uses)
    assert record.order is None or record.order.kind == "sleep" or record.order.until <= NOON
    assert all(NOON - wake.started >= policy.wake_limit for wake in record.wakes.values())
    assert record.looked is not None and timedelta(0) <= NOON - record.looked <= 16 * MINUTE
    match decision:
        case SleepModels(models):
            named = [item for item in uses if item.model in models]
            assert cluster.power == "Running" and named and not any(item.asleep for item in named)
            for item in named:
                assert NOON - item.used >= item.after + policy.note
                assert item.hours.kept_until(NOON) is None
                assert item.changed is None or NOON - item.changed >= max(policy.min_awake, item.min_awake)
        case EmptyPool():
            assert cluster.power == "Running" and cluster.pool_count and cluster.pool_mode == "User"
            assert cluster.pool_owned and all(item.asleep for item in uses if item.needs_gpu)
            assert record.woke is None or NOON - record.woke >= policy.min_awake
        case StopCluster():
            assert cluster.power == "Running" and cluster.pool_count == 0 and all(item.asleep for item in uses)
            assert cluster.owned and policy.stop_after is not None
            assert record.woke is None or NOON - record.woke >= policy.restart_gap
        case DeleteCluster():
            assert cluster.power == "Stopped" and cluster.owned and cluster.may_delete
            assert policy.delete_after is not None


@given(uses, clusters, records, policies, st.data())
def test_more_activity_never_takes_more_down(
    uses: list[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, data: st.DataObject
) -> None:
    """Monotone: with later requests, no model goes to sleep that would not have without them."""
    before = plan(uses, cluster, record, policy)
    busier = [replace(item, used=item.used + data.draw(st.integers(0, 200)) * MINUTE) for item in uses]
    after = plan(busier, cluster, record, policy)
    if isinstance(after, SleepModels):
        assert isinstance(before, SleepModels) and set(after.models) <= set(before.models)


@given(uses, records, policies)
def test_left_alone_everything_is_down_in_the_end(
    uses: list[ModelUse], record: ClusterRecord, policy: IdlePolicy
) -> None:
    """Whatever the beginning: without requests the ladder is gone down, in the order of its rungs, and never back."""
    policy = replace(policy, max_asleep=None, max_wake=None)
    uses = [replace(item, settled=True, hours=NO_HOURS) for item in uses]
    situation, now = Situation(tuple(uses), UP, record.but(operation=None, order=None, wakes={}, slept=None)), NOON
    rungs: list[str] = []
    for _ in range(400):
        now += 5 * MINUTE
        situation = situation.noted(now)
        decision = situation.plan(policy, ECONOMY, now)
        if not isinstance(decision, Stay):
            rungs.append(type(decision).__name__)
            situation = situation.after(decision, now, gpu_nodes=1)
    wanted = ["EmptyPool"] if policy.stop_after is None else ["EmptyPool", "StopCluster"]
    assert [rung for rung in dict.fromkeys(rungs) if rung not in ("SleepModels", "Withheld")] == wanted
    assert all(item.asleep for item in situation.uses)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), policies)
def test_the_pool_never_goes_within_the_minimum_after_it_came(gaps: list[int], policy: IdlePolicy) -> None:
    """Requests at any times: two changes of the pool, up and then down, are never closer than the minimum time awake."""
    requests = [sum(gaps[: count + 1]) for count in range(len(gaps))]
    situation, woke = Situation((use("a", ago=0),), UP, RECORD), NOON - timedelta(days=1)
    for minute in range(0, requests[-1] + 100, 5):
        now = NOON + minute * MINUTE
        if any(minute - 5 < request <= minute for request in requests):
            if situation.uses[0].asleep:
                situation = situation.after(WakeModels(("a",), "a request"), now, gpu_nodes=1)
                woke = now
            situation = replace(situation, uses=(replace(situation.uses[0], used=now),))
        situation = situation.noted(now)
        decision = situation.plan(policy, ECONOMY, now)
        if isinstance(decision, EmptyPool):
            assert now - woke >= policy.min_awake
        situation = situation.after(decision, now, gpu_nodes=1)
