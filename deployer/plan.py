"""The next step of one model's rollout. Pure: ``deployer.rollout`` observes before, and ``deployer.execute`` performs after.

Level-triggered: the step follows from what is, never from what was done before, so that a step lost, repeated or cut short
is made good by the next look.

    WakeCluster → AwaitCluster → Apply → AwaitPods → Prove → Switch → Retire → Settled
                                   └──────┴──────────┴──→ RollBack → (the version before)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from deployer.ports import ClusterState, Nodes, PodFailure, Workload
from deployer.record import ModelRecord, VersionRecord


@dataclass(frozen=True)
class ClusterView:
    """The cluster as observed; ``nodes`` is None where its API does not answer.

    ``failure``: of the last operation, if it failed, seen at ``failed``.
    """

    state: ClusterState
    nodes: Nodes | None = None
    failure: str | None = None
    failed: datetime | None = None


@dataclass(frozen=True)
class RolloutView:
    """A model's objects as observed: its versions' Deployments, and the version its stable Service selects."""

    workloads: Mapping[int, Workload] = field(default_factory=dict)
    selected: int | None = None


@dataclass(frozen=True)
class RolloutPolicy:
    """The bounds of a rollout, and how many nodes the GPU pool has when awake."""

    gpu_nodes: int
    cluster_limit: timedelta
    pods_limit: timedelta
    prove_limit: timedelta
    drain: timedelta


@dataclass(frozen=True)
class WakeCluster:
    """Start the cluster if it is stopped; else give the GPU pool ``nodes`` nodes."""

    start: bool
    nodes: int


@dataclass(frozen=True)
class AwaitCluster:
    """The cluster or its nodes are on the way."""

    message: str


@dataclass(frozen=True)
class Apply:
    """Bring a version's objects to so many replicas; 0 makes room for another version."""

    version: int
    replicas: int


@dataclass(frozen=True)
class AwaitPods:
    """Pods are on the way, or on their way out."""

    message: str


@dataclass(frozen=True)
class Prove:
    """Ask the version's own Service for its golden prediction."""

    version: int
    address: str


@dataclass(frozen=True)
class Switch:
    """Send requests to the version."""

    version: int
    address: str


@dataclass(frozen=True)
class RollBack:
    """Give the version up and go (back) to another; ``to`` None: there is none. ``blame``: the model itself is at fault."""

    version: int
    to: int | None
    reason: str
    hint: str
    blame: bool


@dataclass(frozen=True)
class Retire:
    """Delete the objects of versions that no longer serve, once ``due``."""

    versions: tuple[int, ...]
    due: datetime


@dataclass(frozen=True)
class Settled:
    """Nothing to do."""

    message: str


_AFTER_FAILURE = timedelta(minutes=1)  # a failed operation is begun again after this time, until the cluster's limit
_UNANSWERED = 3  # golden requests that must have been asked in vain before a version is given up for it

Step = WakeCluster | AwaitCluster | Apply | AwaitPods | Prove | Switch | RollBack | Retire | Settled


def plan(record: ModelRecord, cluster: ClusterView, rollout: RolloutView, policy: RolloutPolicy, now: datetime) -> Step:
    """The next step for a model, from its record, the cluster and its objects as they are now."""
    if record.asleep:
        return Settled("asleep")
    if record.desired is None:
        return _nothing_desired(cluster, rollout, now)
    target = record.version(record.desired)
    if (step := _cluster_first(record, target, cluster, policy, now)) is not None:
        return step
    serving = record.route is not None and record.route.version == target.version
    if serving:
        return _keep_serving(record, target, rollout, policy, now)
    return _bring_up(record, target, cluster, rollout, policy, now)


def _nothing_desired(cluster: ClusterView, rollout: RolloutView, now: datetime) -> Step:
    if cluster.state.power == "Running" and rollout.workloads:
        return Retire(tuple(sorted(rollout.workloads)), due=now)
    return Settled("nothing to serve")


def _cluster_first(
    record: ModelRecord, target: VersionRecord, cluster: ClusterView, policy: RolloutPolicy, now: datetime
) -> Step | None:
    state = cluster.state
    stopped = state.power == "Stopped"
    no_pool = target.serve.gpus > 0 and state.pool_count == 0
    ours = state.pool_count is not None  # else nodes may come because a pod waits for one: none is waited for before
    no_node = target.serve.gpus > 0 and ours and (cluster.nodes is None or cluster.nodes.ready == 0)
    if not (stopped or no_pool or no_node or cluster.nodes is None):
        return None
    waited = _waited(record, {"WakeCluster", "AwaitCluster"}, now)
    if waited > policy.cluster_limit:
        lacking = "gave no compute" if ours else "did not answer"
        return RollBack(
            target.version, route.version if (route := record.route) and route.version != target.version else None,
            cluster.failure or f"the cluster {lacking} within {waited.total_seconds():.0f} s",
            "See the cluster's activity log on Azure: quota, capacity and permissions are the usual causes."
            if ours else "Its Kubernetes API must be reached at the address in SLIPWAY_CLUSTER__KUBECONFIG.", blame=False,
        )  # fmt: skip
    if state.busy:
        return AwaitCluster(f"the cluster is {state.provisioning.lower()}")
    if cluster.failure and cluster.failed is not None and now - cluster.failed < _AFTER_FAILURE:
        return AwaitCluster(cluster.failure)
    if stopped:
        return WakeCluster(start=True, nodes=policy.gpu_nodes)
    if no_pool or (no_node and cluster.failure):
        return WakeCluster(start=False, nodes=policy.gpu_nodes)
    return AwaitCluster(
        "a GPU node is joining" if cluster.nodes is not None else "the Kubernetes API does not answer yet"
    )


def _keep_serving(
    record: ModelRecord, target: VersionRecord, rollout: RolloutView, policy: RolloutPolicy, now: datetime
) -> Step:
    work = rollout.workloads.get(target.version)
    if work is None or _outdated(work, target):
        return Apply(target.version, target.serve.replicas.min)
    limit = policy.pods_limit
    if not work.complete and record.rollout is not None and _waited(record, {"AwaitPods"}, now) <= limit:
        return AwaitPods(f"v{target.version} is coming back")
    if rollout.selected != target.version and record.route is not None:
        return Switch(target.version, record.route.address)
    old = tuple(sorted(number for number in rollout.workloads if number != target.version))
    if not old:
        return Settled(f"v{target.version} serves")
    return Retire(old, due=record.rollout.since + policy.drain if record.rollout else now)


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
    if stale:
        return Retire(stale, due=now)
    work = rollout.workloads.get(target.version)
    if work is None or _outdated(work, target):
        return _make_room(target, rollout.workloads.get(route) if route else None, cluster) or Apply(
            target.version, target.serve.replicas.min
        )
    if work.complete and work.address is not None:
        if record.rollout is not None and record.rollout.version == target.version and record.rollout.proven:
            return Switch(target.version, work.address)
        in_vain = record.rollout is not None and record.rollout.unanswered >= _UNANSWERED
        if record.rollout is not None and in_vain and _waited(record, {"Prove"}, now) > policy.prove_limit:
            return RollBack(
                target.version, record.fallback(target.version), record.rollout.message,
                f"kubectl -n slipway logs -l slipway/model={record.name},version=v{target.version} shows what the server says.",
                blame=True,
            )  # fmt: skip
        return Prove(target.version, work.address)
    late = _waited(record, {"AwaitPods"}, now) > policy.pods_limit
    if work.failure is not None and (work.failure.fatal or late):
        reason, hint = in_words(work.failure)
        return RollBack(target.version, record.fallback(target.version), reason, hint, blame=True)
    if late:
        return RollBack(
            target.version, record.fallback(target.version),
            f"its pods were not ready within {policy.pods_limit.total_seconds():.0f} s",
            f"kubectl -n slipway describe pods -l slipway/model={record.name} tells what they wait for.", blame=True,
        )  # fmt: skip
    if work.complete:
        return AwaitPods("the Service has no address yet")
    return AwaitPods(in_words(work.failure)[0] if work.failure else f"v{target.version} is starting")


def _outdated(work: Workload, target: VersionRecord) -> bool:
    """Whether a version's objects are scaled to 0, or rendered for other options than it has now."""
    return work.replicas == 0 or work.options != target.serve.rendered


def _make_room(target: VersionRecord, old: Workload | None, cluster: ClusterView) -> Step | None:
    """What must happen before the target's pods can start; None where they can start at once."""
    if old is None:
        return None
    free = cluster.nodes.gpus_free if cluster.nodes else 0
    fits = free >= target.serve.gpus * target.serve.replicas.min
    match target.serve.rollout:
        case "surge":
            return None
        case "auto" if fits:
            return None
        case _ if old.replicas > 0:
            return Apply(old.version, 0)
        case _ if old.pods > 0:
            return AwaitPods(f"v{old.version} is giving its GPU back")
        case _:
            return None


def in_words(failure: PodFailure) -> tuple[str, str]:
    """What keeps a pod from being ready, and what to do about it, for people who do not read pod statuses."""
    match failure.reason:
        case "Unschedulable":
            return (
                f"no node has room for the pod ({failure.message})",
                "Free a GPU, add nodes to the pool, or set 'rollout: replace' beside the model. Nodes whose GPUs Kubernetes does "
                "not see need the device plugin: kubectl apply -f k8s_templates/gpu-device-plugin.yaml.",
            )
        case "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName":
            return (
                f"the image of the model server cannot be pulled ({failure.message})",
                "Check SLIPWAY_SERVING__IMAGE, SLIPWAY_SERVING__GPU_IMAGE and the cluster's access to the registry.",
            )
        case "OOMKilled":
            return (
                "the model server ran out of memory",
                "Raise SLIPWAY_SERVING__MEMORY; a pod needs about twice the servable's size.",
            )
        case _:
            return (
                f"the model server does not stay up ({failure.reason}: {failure.message})",
                "TensorFlow Serving's own message is above; the full log: kubectl -n slipway logs on the pod.",
            )


def _waited(record: ModelRecord, steps: set[str], now: datetime) -> timedelta:
    """How long the rollout has been at one of these steps without a break."""
    status = record.rollout
    if status is None or status.version != record.desired or status.step not in steps:
        return timedelta(0)
    return now - status.since
