"""The next step of one model's rollout. Pure: ``deployer.rollout`` observes before, and ``deployer.execute`` performs after.

Level-triggered: the step follows from what is, never from what was done before, so that a step lost, repeated or cut short
is made good by the next look.

    WakeCluster → AwaitCluster → Apply → AwaitPods → Prove → (Try → AwaitCanary →) Switch → Retire → Forget → Settled
                                   └──────┴──────────┴────────────────┴──→ RollBack → (the version before)
"""

from datetime import datetime

from deployer.canary import Failed, Figures, Passed, Undecided, judge
from deployer.compute import compute_first, without_compute
from deployer.pod_failures import in_words
from deployer.ports import Workload
from deployer.record import ModelRecord, VersionRecord
from deployer.retention import superfluous
from deployer.steps import (
    Apply,
    AwaitCanary,
    AwaitPods,
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
)

_UNANSWERED = 3  # golden requests that must have been asked in vain before a version is given up for it


def plan(record: ModelRecord, cluster: ClusterView, rollout: RolloutView, policy: RolloutPolicy, now: datetime) -> Step:
    """The next step for a model, from its record, the cluster and its objects as they are now."""
    if record.asleep:
        return Settled("asleep")
    if record.desired is None:
        return _nothing_desired(cluster, rollout, now)
    target = record.version(record.desired)
    canary = record.route.canary if record.route is not None else None
    if canary is not None and canary.version != target.version:
        return EndTrial(canary.version)
    if (step := compute_first(record, target, cluster, policy, now)) is not None:
        return step
    serving = record.route is not None and record.route.version == target.version
    if serving:
        return _keep_serving(record, target, rollout, policy, now)
    return _bring_up(record, target, cluster, rollout, policy, now)


def _nothing_desired(cluster: ClusterView, rollout: RolloutView, now: datetime) -> Step:
    if cluster.state.power == "Running" and rollout.workloads:
        return Retire(tuple(sorted(rollout.workloads)), due=now)
    return Settled("nothing to serve")


def _keep_serving(
    record: ModelRecord, target: VersionRecord, rollout: RolloutView, policy: RolloutPolicy, now: datetime
) -> Step:
    work = rollout.workloads.get(target.version)
    if work is None or _outdated(work, target):
        return Apply(target.version, target.serve.replicas.min)
    limit = policy.pods_limit
    if not work.complete and record.rollout is not None and record.waited({"AwaitPods"}, now) <= limit:
        return AwaitPods(f"v{target.version} is coming back")
    if rollout.selected != target.version and record.route is not None:
        return Switch(target.version, record.route.address)
    old = tuple(sorted(number for number in rollout.workloads if number != target.version))
    if old:
        return Retire(old, due=record.rollout.since + policy.drain if record.rollout else now)
    if forgotten := superfluous(record, target.serve.keep_versions):
        return Forget(forgotten)
    return Settled(f"v{target.version} serves")


def _bring_up(
    record: ModelRecord,
    target: VersionRecord,
    cluster: ClusterView,
    rollout: RolloutView,
    policy: RolloutPolicy,
    now: datetime,
) -> Step:
    route = record.route.version if record.route else None
    stale = tuple(sorted(number for number in rollout.workloads if number not in (target.version, route)))
    if stale:  # one that was on trial until now has requests to finish
        return Retire(stale, due=now if record.served is None else max(now, record.served + policy.drain))
    on_trial = record.route is not None and record.route.canary is not None
    if on_trial and isinstance(verdict := _verdict(record, target, rollout, policy, now), Failed):
        return _given_up(record, target, verdict.reason, _TRIAL_HINT)
    work = rollout.workloads.get(target.version)
    if work is None or _outdated(work, target):
        old = rollout.workloads.get(route) if route else None
        return _make_room(record, target, old, cluster) or Apply(target.version, target.serve.replicas.min)
    if work.complete and work.address is not None:
        if record.rollout is not None and record.rollout.version == target.version and record.rollout.proven:
            return _after_proof(record, target, work.address, rollout, policy, now)
        in_vain = record.rollout is not None and record.rollout.unanswered >= _UNANSWERED
        if record.rollout is not None and in_vain and record.waited({"Prove"}, now) > policy.prove_limit:
            logs = f"kubectl -n slipway logs -l slipway/model={record.name},version=v{target.version} shows what the server says."
            return _given_up(record, target, record.rollout.message, logs)
        return Prove(target.version, work.address)
    late = record.waited({"AwaitPods"}, now) > policy.pods_limit
    if work.failure is not None and late and work.failure.reason == "Unschedulable":
        return RollBack(target.version, without_compute(record, target), *in_words(work.failure), blame=False)
    if work.failure is not None and (work.failure.fatal or late):
        return _given_up(record, target, *in_words(work.failure))
    if late:
        reason = f"its pods were not ready within {policy.pods_limit.total_seconds():.0f} s"
        hint = f"kubectl -n slipway describe pods -l slipway/model={record.name} tells what they wait for."
        return _given_up(record, target, reason, hint)
    if work.complete:
        return AwaitPods("the Service has no address yet")
    if work.failure is not None and work.failure.reason != "NotReady":
        return AwaitPods(in_words(work.failure)[0])
    return AwaitPods(f"v{target.version} is starting")


_TRIAL_HINT = "The model server's log says why; 'canary: {max_error_rate: …}' beside the model sets what is borne."


def _after_proof(
    record: ModelRecord, target: VersionRecord, address: str, rollout: RolloutView, policy: RolloutPolicy, now: datetime
) -> Step:
    """What comes of a version that has proven itself: all requests at once, or first a share of them."""
    if not _as_canary(record, target) or record.route is None or record.rollout is None:
        return Switch(target.version, address)
    if record.route.canary is None or record.route.canary.address != address or record.rollout.trial is None:
        return Try(target.version, address, target.serve.canary.share)
    match _verdict(record, target, rollout, policy, now):
        case Undecided(message):
            return AwaitCanary(message)
        case Passed(why):
            return Switch(target.version, address, why)
        case Failed(reason):
            return _given_up(record, target, reason, _TRIAL_HINT)


def _verdict(
    record: ModelRecord, target: VersionRecord, rollout: RolloutView, policy: RolloutPolicy, now: datetime
) -> Undecided | Passed | Failed:
    began = record.rollout.trial if record.rollout is not None and record.rollout.trial is not None else now
    stable = rollout.figures.get(record.route.version) if record.route is not None else None
    return judge(
        rollout.figures.get(target.version, Figures()), stable or Figures(), target.serve.canary,
        elapsed=now - began, lag=policy.figures_lag,
    )  # fmt: skip


def _as_canary(record: ModelRecord, target: VersionRecord) -> bool:
    """Whether the version is to be tried beside the one that serves. One that is gone back to is not: it is wanted now."""
    back = record.rollout is not None and record.rollout.version == target.version and record.rollout.back
    return target.serve.rollout == "canary" and record.route is not None and not back


def _given_up(record: ModelRecord, target: VersionRecord, reason: str, hint: str) -> RollBack:
    return RollBack(target.version, record.fallback(target.version), reason, hint, blame=True)


def _outdated(work: Workload, target: VersionRecord) -> bool:
    """Whether a version's objects are scaled to 0, or rendered for other options than it has now."""
    return work.replicas == 0 or work.options != target.serve.rendered


def _make_room(record: ModelRecord, target: VersionRecord, old: Workload | None, cluster: ClusterView) -> Step | None:
    """What must happen before the target's pods can start; None where they can start at once."""
    if old is None or _as_canary(record, target):
        return None
    free = cluster.nodes.gpus_free if cluster.nodes else 0
    fits = free >= target.serve.gpus * target.serve.replicas.min
    match target.serve.rollout:
        case "surge":
            return None
        case "auto" | "canary" if fits:
            return None
        case _ if old.replicas > 0:
            return Apply(old.version, 0)
        case _ if old.pods > 0:
            return AwaitPods(f"v{old.version} is giving its GPU back")
        case _:
            return None
