"""What idle compute may go now. Pure: ``deployer.teardown`` observes before, performs after, and checks again in between.

The ladder: awake → ``pods`` (a model's deployments to 0) → ``pool`` (GPU pool to 0) → ``stopped`` (cluster stopped).
Nothing goes during a rollout, a wake or a long operation, nor inside a hold. On a cluster whose nodes are not Slipway's
the ladder ends at ``pods``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deployer.ports import ClusterState
from deployer.record import ClusterRecord


@dataclass(frozen=True)
class ModelUse:
    """One model as the ladder sees it. ``used``: the newest of its last request, upload, wake or sleep."""

    model: str
    used: datetime
    after: timedelta
    needs_gpu: bool
    asleep: bool
    settled: bool


@dataclass(frozen=True)
class IdlePolicy:
    """When each rung is due. ``note``: how much older than the truth a noted request may be."""

    enabled: bool
    pool_after: timedelta
    stop_after: timedelta | None
    note: timedelta
    wake_limit: timedelta  # a wake that never came to its end hinders no longer than this


@dataclass(frozen=True)
class Stay:
    """Nothing goes; ``due`` is when something might, if nobody asks before."""

    reason: str
    due: datetime | None = None


@dataclass(frozen=True)
class SleepModels:
    """The pods of these models go."""

    models: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class EmptyPool:
    """The GPU pool goes to 0."""

    reason: str


@dataclass(frozen=True)
class StopCluster:
    """The cluster is stopped."""

    reason: str


Decision = Stay | SleepModels | EmptyPool | StopCluster


def plan_idle(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, now: datetime
) -> Decision:
    """The next thing that may go, or why nothing may."""
    if (reason := _hindrance(uses, cluster, record, policy, now)) is not None:
        return Stay(reason)
    awake = [use for use in uses if not use.asleep]
    idle = tuple(use.model for use in awake if now >= _due(use, policy))
    if idle:
        return SleepModels(idle, "no request for long enough")
    gpu_awake = [use for use in awake if use.needs_gpu]
    last_change = max((use.used for use in uses if use.asleep), default=None)
    if cluster.pool_count and not gpu_awake:
        due = (last_change or record.updated) + policy.pool_after
        if now >= due:
            return EmptyPool("no model that takes a GPU is awake")
        return Stay("the GPU pool waits a little for a request", due)
    if cluster.pool_count == 0 and not awake and policy.stop_after is not None and record.slept is not None:
        due = max(record.slept, last_change or record.slept) + policy.stop_after
        return (
            StopCluster("the GPU pool has been empty for long enough") if now >= due else Stay("the pool is empty", due)
        )
    if not awake:
        return Stay("all models are asleep")
    return Stay("models are in use", min(_due(use, policy) for use in awake))


def _due(use: ModelUse, policy: IdlePolicy) -> datetime:
    return use.used + use.after + policy.note


def _hindrance(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, now: datetime
) -> str | None:
    """Why nothing may go at all, if so."""
    if not policy.enabled:
        return "switched off by SLIPWAY_IDLE__ENABLED"
    if cluster.busy:
        return f"the cluster is {cluster.provisioning.lower()}"
    if record.operation is not None:
        return "the end of an operation has not been seen yet"
    if cluster.power == "Stopped":
        return "the cluster is stopped"
    if record.held_until is not None and now < record.held_until:
        return f"held until {record.held_until:%H:%M}"
    rolling = [use.model for use in uses if not use.settled]
    if rolling:
        return f"a rollout is under way ({', '.join(rolling)})"
    if record.wake is not None and now - record.wake.started < policy.wake_limit:
        return "a wake is under way"
    return None
