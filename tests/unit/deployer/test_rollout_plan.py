"""The plan of a rollout: each situation has its step, and no situation whatever has a dangerous one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.canary import Figures
from deployer.options import Replicas, ServeOptions, Strategy
from deployer.plan import plan
from deployer.ports import ClusterState, Nodes, PodFailure, Workload
from deployer.record import Canary, ModelRecord, RolloutStatus, Route, VersionRecord
from deployer.steps import (
    Apply,
    AwaitCanary,
    AwaitCluster,
    AwaitPods,
    AwaitRestart,
    ClusterView,
    EndTrial,
    Forget,
    Prove,
    Retire,
    RollBack,
    RolloutPolicy,
    RolloutView,
    Settled,
    Step,
    Switch,
    Try,
    WakeCluster,
)

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
POLICY = RolloutPolicy(
    gpu_nodes=1, cluster_limit=timedelta(minutes=30), pods_limit=timedelta(minutes=15), prove_limit=timedelta(minutes=1),
    drain=timedelta(seconds=15), pools=("gpu", "spare"), restart_gap=timedelta(minutes=20), figures_lag=timedelta(seconds=20),
)  # fmt: skip
UP = ClusterView(ClusterState("Running", False, 1, "Succeeded"), Nodes(ready=1, gpus=1, gpus_free=0))
ROOM = replace(UP, nodes=Nodes(ready=2, gpus=2, gpus_free=1))
STOPPED = ClusterView(ClusterState("Stopped", False, 0, "Succeeded"))
NO_POOL = ClusterView(ClusterState("Running", False, 0, "Succeeded"), Nodes(0, 0, 0))
NO_NODE = ClusterView(ClusterState("Running", False, 1, "Succeeded"), Nodes(0, 0, 0))
BUSY = ClusterView(ClusterState("Running", True, 0, "Updating"), Nodes(0, 0, 0))
SILENT = ClusterView(ClusterState("Running", False, 1, "Succeeded"))
SERVE = ServeOptions()
CRASH = PodFailure("Error", "cannot parse", fatal=True)
NO_GPU = PodFailure("Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", fatal=False)
PULL = PodFailure("ErrImagePull", "no such tag", fatal=False)


def version(number: int, serve: ServeOptions = SERVE, **more: Any) -> VersionRecord:
    base = VersionRecord(version=number, identity=str(number), state="published", created=NOON, serve=serve)
    return base.but(**more)


def record(desired: int | None, route: int | None = None, *, serve: ServeOptions = SERVE, **more: Any) -> ModelRecord:
    routed = Route(version=route, address=f"http://v{route}") if route else None
    versions = tuple(version(number, serve) for number in (1, 2, 3))
    return ModelRecord(name="cats", updated=NOON, versions=versions, desired=desired, route=routed).but(**more)


def rollout(number: int, step: str, *, ago: float = 0, **more: Any) -> RolloutStatus:
    since = NOON - timedelta(seconds=ago)
    return RolloutStatus(version=number, started=since, step=step, since=since, looked=since).but(**more)


def work(
    number: int, *, replicas: int = 1, complete: bool = True, pods: int = 1, failure: PodFailure | None = None,
    address: str | None = "http://v", options: str = SERVE.rendered,
) -> Workload:  # fmt: skip
    return Workload(number, replicas, complete, pods, options, failure, address and f"{address}{number}")


def seen(*works: Workload, selected: int | None = None) -> RolloutView:
    return RolloutView({item.version: item for item in works}, selected)


def serve(strategy: Strategy, **more: Any) -> ServeOptions:
    return ServeOptions(rollout=strategy, **more)


def step(record: ModelRecord, cluster: ClusterView = UP, rollout: RolloutView | None = None) -> Step:
    return plan(record, cluster, rollout or seen(), POLICY, NOON)


STARTING = work(2, complete=False)


@pytest.mark.parametrize(
    ("record", "cluster", "rollout", "wanted"),
    [
        # from nothing to serving
        (record(1), UP, seen(), Apply(1, 1)),
        (record(1), UP, seen(work(1, complete=False)), AwaitPods("v1 is starting")),
        (record(1), UP, seen(work(1, address=None)), AwaitPods("the Service has no address yet")),
        (record(1), UP, seen(work(1)), Prove(1, "http://v1")),
        (record(1, rollout=rollout(1, "Prove")), UP, seen(work(1)), Prove(1, "http://v1")),
        (record(1, rollout=rollout(1, "Prove", proven=True)), UP, seen(work(1)), Switch(1, "http://v1")),
        (record(1, 1), UP, seen(work(1)), Switch(1, "http://v1")),  # the stable Service is behind the record
        (record(1, 1), UP, seen(work(1), selected=1), Settled("v1 serves")),
        # the proof of another version is no proof of this one
        (record(2, rollout=rollout(1, "Prove", proven=True)), UP, seen(work(2)), Prove(2, "http://v2")),
        # nothing wanted, asleep
        (record(None), UP, seen(), Settled("nothing to serve")),
        (record(None), UP, seen(work(2), work(1)), Retire((1, 2), NOON)),
        (record(None), STOPPED, seen(work(1)), Settled("nothing to serve")),
        (record(1, asleep=True), STOPPED, seen(), Settled("asleep")),
        # the cluster first
        (record(1), STOPPED, seen(), WakeCluster(start=True, nodes=1, pool="gpu")),
        (record(1), NO_POOL, seen(), WakeCluster(start=False, nodes=1, pool="gpu")),
        (record(1), NO_NODE, seen(), AwaitCluster("a GPU node is joining", "gpu-node")),
        (record(1), SILENT, seen(), AwaitCluster("the Kubernetes API does not answer yet", "cluster")),
        (record(1), BUSY, seen(), AwaitCluster("the cluster is updating", "gpu-pool")),
        (record(1, serve=serve("auto", gpus=0)), NO_POOL, seen(), Apply(1, 1)),
        (record(1, serve=serve("auto", gpus=0)), STOPPED, seen(), WakeCluster(start=True, nodes=1, pool="gpu")),
        # woken from 'pods': the version's Deployment stands at 0
        (record(1), UP, seen(work(1, replicas=0, complete=False, pods=0), selected=1), Apply(1, 1)),
        # changed options of what serves, and of what is on its way
        (record(1, 1), UP, seen(work(1, options="{}"), selected=1), Apply(1, 1)),
        (record(2, 1), ROOM, seen(work(1), work(2, options="{}")), Apply(2, 1)),
        # surge
        (record(2, 1, serve=serve("surge")), UP, seen(work(1)), Apply(2, 1)),
        (record(2, 1), ROOM, seen(work(1)), Apply(2, 1)),
        # replace
        (record(2, 1), UP, seen(work(1)), Apply(1, 0)),
        (record(2, 1, serve=serve("replace")), ROOM, seen(work(1)), Apply(1, 0)),
        (record(2, 1), UP, seen(work(1, replicas=0)), AwaitPods("v1 is giving its GPU back")),
        (record(2, 1), UP, seen(work(1, replicas=0, pods=0)), Apply(2, 1)),
        (record(2, 1), UP, seen(work(1, replicas=0, pods=0), STARTING), AwaitPods("v2 is starting")),
        # auto counts the GPUs of all the new pods
        (record(2, 1, serve=serve("auto", gpus=2)), ROOM, seen(work(1)), Apply(1, 0)),
        (record(2, 1, serve=serve("auto", replicas=Replicas(min=2, max=2))), ROOM, seen(work(1)), Apply(1, 0)),
        (record(2, 1, serve=serve("auto", gpus=0)), NO_POOL, seen(work(1)), Apply(2, 1)),
        # superseded: what is neither wanted nor serving goes first
        (record(3, 1), ROOM, seen(work(1), work(2)), Retire((2,), NOON)),
        # after the switch the old one stays while requests drain
        (
            record(2, 2, rollout=rollout(2, "Switch", ago=4)), ROOM, seen(work(1), work(2), selected=2),
            Retire((1,), NOON + timedelta(seconds=11)),
        ),
        # the way back
        (record(1, 1, rollout=rollout(1, "Apply")), UP, seen(work(1, replicas=0), selected=1), Apply(1, 1)),
        (
            record(1, 1, rollout=rollout(1, "Apply")), UP, seen(work(1, complete=False), selected=1),
            AwaitPods("v1 is coming back"),
        ),
        (record(1, 1), UP, seen(work(1), work(2), selected=1), Retire((2,), NOON)),
    ],
)  # fmt: skip
def test_each_situation_has_its_step(
    record: ModelRecord, cluster: ClusterView, rollout: RolloutView, wanted: Step
) -> None:
    assert plan(record, cluster, rollout, POLICY, NOON) == wanted


LATE = 15 * 60 + 1


@pytest.mark.parametrize(
    ("record", "cluster", "rollout", "to", "blame", "told"),
    [
        (record(2, 1), ROOM, seen(work(1), work(2, complete=False, failure=CRASH)), 1, True, "cannot parse"),
        (
            record(2, 1, rollout=rollout(2, "AwaitPods", ago=LATE)), ROOM,
            seen(work(1), work(2, complete=False, failure=PULL)), 1, True, "cannot be pulled (no such tag)",
        ),
        (
            record(2, 1, rollout=rollout(2, "AwaitPods", ago=LATE)), ROOM,
            seen(work(1), work(2, complete=False, failure=NO_GPU)), 1, False, "no GPU is free",
        ),
        (
            record(2, previous=1, rollout=rollout(2, "AwaitPods", ago=LATE)), UP,
            seen(work(2, complete=False, failure=NO_GPU)), None, False, "no GPU is free",
        ),
        (
            record(2, 1, rollout=rollout(2, "AwaitPods", ago=LATE)), ROOM, seen(work(1), STARTING), 1, True,
            "not ready within 900 s",
        ),
        (
            record(2, 1, rollout=rollout(2, "Prove", ago=61, unanswered=3, message="it answered 500")), ROOM,
            seen(work(1), work(2)), 1, True, "it answered 500",
        ),
        (record(1), UP, seen(work(1, complete=False, failure=CRASH)), None, True, "cannot parse"),
        (record(2, previous=1), UP, seen(work(2, complete=False, failure=CRASH)), 1, True, "cannot parse"),
        (
            record(2, 1, rollout=rollout(2, "AwaitCluster", ago=1801)), SILENT, seen(), 1, False,
            "the cluster gave no compute within 1801 s",
        ),
        (
            record(2, previous=1, rollout=rollout(2, "WakeCluster", ago=1801)), replace(NO_POOL, failure="Quota: none"),
            seen(), None, False, "Quota: none",
        ),
        (record(1, 1, rollout=rollout(1, "AwaitCluster", ago=1801)), STOPPED, seen(), None, False, "no compute"),
    ],
)  # fmt: skip
def test_what_cannot_serve_is_given_up_for_the_one_before(
    record: ModelRecord, cluster: ClusterView, rollout: RolloutView, to: int | None, blame: bool, told: str
) -> None:
    found = plan(record, cluster, rollout, POLICY, NOON)
    assert isinstance(found, RollBack)
    assert (found.version, found.to, found.blame) == (record.desired, to, blame)
    assert told in found.reason and found.hint


@pytest.mark.parametrize(
    ("record", "cluster", "rollout", "wanted"),
    [
        (
            record(2, 1, rollout=rollout(2, "AwaitPods", ago=LATE - 1)), ROOM,
            seen(work(1), work(2, complete=False, failure=PULL)),
            AwaitPods("the image of the model server cannot be pulled (no such tag)"),
        ),
        (record(2, 1, rollout=rollout(2, "Apply", ago=LATE)), ROOM, seen(work(1), STARTING), AwaitPods("v2 is starting")),
        (record(2, 1, rollout=rollout(1, "AwaitPods", ago=LATE)), ROOM, seen(work(1), STARTING), AwaitPods("v2 is starting")),
        (record(2, 1, rollout=rollout(2, "AwaitPods", ago=LATE)), ROOM, seen(work(1), work(2)), Prove(2, "http://v2")),
        (record(2, 1, rollout=rollout(2, "Prove", ago=999)), ROOM, seen(work(1), work(2)), Prove(2, "http://v2")),
        (
            record(2, rollout=rollout(2, "AwaitCluster", ago=1799)), NO_NODE, seen(),
            AwaitCluster("a GPU node is joining", "gpu-node"),
        ),
    ],
)  # fmt: skip
def test_nothing_is_given_up_before_its_time_or_for_another_steps_time(
    record: ModelRecord, cluster: ClusterView, rollout: RolloutView, wanted: Step
) -> None:
    assert plan(record, cluster, rollout, POLICY, NOON) == wanted


def test_a_failed_operation_is_begun_again_after_a_while() -> None:
    failed = replace(NO_POOL, failure="AllocationFailed: none", failed=NOON - timedelta(seconds=59))
    assert step(record(1), failed) == AwaitCluster("AllocationFailed: none", "gpu-pool")
    later = replace(failed, failed=NOON - timedelta(seconds=60))
    assert step(record(1), later) == WakeCluster(start=False, nodes=1, pool="gpu")
    assert step(record(1), replace(later, state=NO_NODE.state)) == WakeCluster(start=False, nodes=1, pool="gpu")


def test_a_failed_operation_hinders_no_rollout_that_needs_none() -> None:
    assert step(record(1), replace(UP, failure="StopFailed: no", failed=NOON)) == Apply(1, 1)


# Any situation at all ------------------------------------------------------------------------------------------------

numbers = st.integers(1, 3)
moments = st.integers(-2, 4000).map(lambda ago: NOON - timedelta(seconds=ago))
serves = st.builds(
    ServeOptions, gpus=st.integers(0, 2), rollout=st.sampled_from(["auto", "surge", "replace", "canary"]),
    keep_versions=st.integers(1, 3),
    replicas=st.sampled_from([Replicas(), Replicas(min=2, max=2), Replicas(min=1, max=4)]),
)  # fmt: skip
failures = st.none() | st.builds(
    PodFailure, st.sampled_from(["Unschedulable", "ErrImagePull", "OOMKilled", "Error"]), st.just("why"), st.booleans()
)
statuses = st.none() | st.builds(
    RolloutStatus, version=numbers, started=moments, since=moments, looked=moments, proven=st.booleans(),
    unanswered=st.integers(0, 4), trial=st.none() | moments, back=st.booleans(),
    step=st.sampled_from(["WakeCluster", "AwaitCluster", "Apply", "AwaitPods", "Prove", "Switch", "Retire"]),
)  # fmt: skip
clusters = st.builds(
    ClusterView,
    st.builds(ClusterState, st.sampled_from(["Running", "Stopped"]), st.booleans(), st.integers(0, 2), st.just("Updating")),
    st.none() | st.builds(Nodes, st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)),
    st.none() | st.just("Quota: none"), st.none() | moments, st.none() | moments,
    st.sampled_from([(), ("gpu",), ("spare",), ("gpu", "spare")]), st.none() | moments,
)  # fmt: skip


@st.composite
def records(draw: st.DrawFn) -> ModelRecord:
    states = st.sampled_from(["publishing", "published", "serving", "retired", "failed", "held", "deleting", "deleted"])
    versions = tuple(version(number, draw(serves), state=draw(states)) for number in (1, 2, 3))
    routed = draw(st.none() | numbers)
    tried = draw(st.none() | numbers.filter(lambda number: number != routed))
    canary = Canary(version=tried, address="http://v", share=10) if tried else None
    return ModelRecord(
        name="cats", updated=NOON, versions=versions, desired=draw(st.none() | numbers),
        previous=draw(st.none() | numbers), rollout=draw(statuses), asleep=draw(st.booleans()),
        route=Route(version=routed, address="http://v", canary=canary) if routed else None,
    )  # fmt: skip


@st.composite
def views(draw: st.DrawFn, record: ModelRecord) -> RolloutView:
    works = {
        number: Workload(
            number, draw(st.integers(0, 2)), draw(st.booleans()), draw(st.integers(0, 2)),
            draw(st.just("{}") | st.just(record.version(number).serve.rendered)), draw(failures),
            draw(st.none() | st.just("http://v")),
        )
        for number in draw(st.sets(numbers))
    }  # fmt: skip
    figures = draw(st.dictionaries(numbers, st.builds(Figures, st.integers(0, 99), st.integers(0, 9))))
    return RolloutView(works, draw(st.none() | numbers), figures)


@given(st.data(), records(), clusters)
def test_no_situation_has_a_dangerous_step(data: st.DataObject, record: ModelRecord, cluster: ClusterView) -> None:
    view = data.draw(views(record))
    status = record.rollout
    canary = record.route.canary if record.route is not None else None
    found = plan(record, cluster, view, POLICY, NOON)
    match found:
        case Switch(number):
            serving = record.route is not None and record.route.version == number
            proven = status is not None and status.version == number and status.proven
            assert number == record.desired and (serving or proven)
        case Retire(versions):
            assert record.desired not in versions
            route = record.route.version if record.route else None
            assert canary is None or record.desired is None or canary.version not in versions
            assert record.desired is None or route == record.desired or route not in versions
        case RollBack(number, to):
            fatal = number in view.workloads and (why := view.workloads[number].failure) is not None and why.fatal
            limit = min(POLICY.cluster_limit, POLICY.pods_limit, POLICY.prove_limit)
            late = status is not None and status.version == number and NOON - status.since > limit
            failing = canary is not None and view.figures.get(number, Figures()).errors > 0
            assert number == record.desired and to != number and (fatal or late or failing)
            assert to is None or record.has(to)
        case Apply(number, replicas):
            assert cluster.state.power == "Running" and cluster.nodes is not None
            assert (number == record.desired) == (replicas > 0)
        case Try() | AwaitCanary():
            assert record.version(record.desired or 0).serve.rollout == "canary" and record.route is not None
            assert status is not None and status.proven and not status.back
        case EndTrial(number):
            assert canary is not None and canary.version == number != record.desired
        case Forget(versions):
            route = record.route.version if record.route else None
            begun = {item.version for item in record.versions if item.state == "deleting"}
            assert not {record.desired, record.previous, route} & set(versions) - begun
            assert not set(versions) & view.workloads.keys()
            assert all(record.version(number).state != "held" for number in versions)
        case AwaitRestart(_, due):
            assert NOON < due <= NOON + POLICY.restart_gap + timedelta(seconds=2)
        case WakeCluster(start, _, pool):
            assert pool in POLICY.pools and (pool not in cluster.refused or set(cluster.refused) == set(POLICY.pools))
            assert not cluster.state.busy and start == (cluster.state.power == "Stopped")
        case Prove(number):
            assert number == record.desired and view.workloads[number].complete
        case Settled():
            assert record.asleep or record.desired is None or record.route is not None
        case AwaitCluster() | AwaitPods():
            assert not record.asleep and found.message


@given(st.data(), records(), clusters)
def test_a_sleeping_model_is_left_alone(data: st.DataObject, record: ModelRecord, cluster: ClusterView) -> None:
    assert plan(record.but(asleep=True), cluster, data.draw(views(record)), POLICY, NOON) == Settled("asleep")


@given(st.data(), records(), clusters)
def test_the_same_situation_has_the_same_step(data: st.DataObject, record: ModelRecord, cluster: ClusterView) -> None:
    view = data.draw(views(record))
    assert plan(record, cluster, view, POLICY, NOON) == plan(record, cluster, view, POLICY, NOON)
