"""What idle compute may go now, and what is brought back by schedule. Pure: ``deployer.teardown`` observes before, performs
after, and checks again in between.

The ladder: awake → ``pods`` (a model's deployments to 0) → ``pool`` (GPU pool to 0) → ``stopped`` (cluster stopped) →
(``deleted``, only if asked for). Nothing goes during a rollout, a wake or a long operation, inside a window or a hold, sooner
than the minimum time awake, or at a look that comes late: a timer that was missing for hours, or a clock that jumped, is seen
at one look and believed at the next. On a cluster whose nodes are not Slipway's the ladder ends at ``pods``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deployer.economy import Economy
from deployer.ports import ClusterState
from deployer.record import ClusterRecord
from deployer.windows import NO_HOURS, Hours

_LEAD = timedelta(hours=1)  # a timer that rests for a night wakes nothing the evening before
_SLACK = timedelta(minutes=1)  # timers fire a little late


@dataclass(frozen=True)
class ModelUse:
    """One model as the ladder sees it.

    ``used``: the newest of its last request, upload, wake or sleep. ``changed``: when it fell asleep or was last woken.
    ``hours``: in which it stays awake, used or not.
    """

    model: str
    used: datetime
    after: timedelta
    needs_gpu: bool
    asleep: bool
    settled: bool
    changed: datetime | None = None
    min_awake: timedelta = timedelta(0)
    hours: Hours = NO_HOURS


@dataclass(frozen=True)
class IdlePolicy:
    """When each rung is due; None: never, and for the pool: as soon as it pays.

    ``note``: how much older than the truth a noted request may be. ``wake_limit``: a wake that never came to its end hinders
    no longer than this. ``period``: between two looks; three times that is a gap. ``restart_gap``: AKS wants it between stop and
    start. ``max_wake``: a rung from which nine wakes of ten do not come back in this time is not gone to. ``max_asleep``:
    after so long a model is woken to see that it still can be.
    """

    enabled: bool
    pool_after: timedelta | None
    stop_after: timedelta | None
    note: timedelta
    wake_limit: timedelta
    delete_after: timedelta | None = None
    min_awake: timedelta = timedelta(0)
    max_asleep: timedelta | None = None
    max_wake: timedelta | None = None
    restart_gap: timedelta = timedelta(minutes=20)
    period: timedelta = timedelta(minutes=5)


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
class WakeModels:
    """These models come back without having been asked: by their windows, or to see that they can."""

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


@dataclass(frozen=True)
class DeleteCluster:
    """The stopped cluster is deleted; models and servables stay."""

    reason: str


@dataclass(frozen=True)
class Withheld:
    """What would be done to a pool or a cluster that does not carry our tag: said, not done."""

    decision: EmptyPool | StopCluster | DeleteCluster
    reason: str


Decision = Stay | SleepModels | WakeModels | EmptyPool | StopCluster | DeleteCluster | Withheld


def plan_idle(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, economy: Economy,
    now: datetime,
) -> Decision:  # fmt: skip
    """The next thing that goes or comes, or why nothing does."""
    if not policy.enabled:
        return Stay("switched off by SLIPWAY_IDLE__ENABLED")
    if cluster.busy:
        return Stay(f"the cluster is {cluster.provisioning.lower()}")
    if record.operation is not None:
        return Stay("the end of an operation has not been seen yet")
    return (
        _called(uses, cluster, record, policy, economy, now)
        or _hindered(uses, cluster, record, policy, now)
        or (_stopped(uses, cluster, record, policy, economy, now) if cluster.power == "Stopped" else None)
        or _models(uses, policy, now)
        or _pool(uses, cluster, record, policy, economy, now)
        or _cluster(uses, cluster, record, policy, economy, now)
        or _nothing(uses, record, policy, economy, now)
    )


def _called(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, economy: Economy,
    now: datetime,
) -> Decision | None:  # fmt: skip
    """What comes back by schedule: early enough to be awake when its window begins."""
    order = record.order
    if order is not None and order.kind in ("sleep", "hold") and now < order.until:
        return None
    if cluster.power == "Stopped" and record.slept is not None and now < record.slept + policy.restart_gap:
        return None
    asleep = [use for use in uses if use.asleep]
    lead = _lead(record, policy, economy)
    due = tuple(use.model for use in asleep if _missed(use, now) or _soon(use, now, lead))
    if due:
        return WakeModels(due, "their hours begin")
    if policy.max_asleep is not None and asleep and len(asleep) == len(uses):
        longest = min(asleep, key=lambda use: (use.changed or use.used, use.model))
        if max(use.changed or use.used for use in asleep) + policy.max_asleep <= now:
            return WakeModels((longest.model,), "everything has been asleep for so long that a wake is tried")
    return None


def _missed(use: ModelUse, now: datetime) -> bool:
    """Whether it sleeps although its hours have begun, and it was not put to sleep in them."""
    opened = use.hours.opened(now)
    return opened is not None and (use.changed is None or use.changed < opened)


def _soon(use: ModelUse, now: datetime, lead: timedelta) -> bool:
    """Whether a wake must begin now for the model to be awake when its hours begin."""
    opens = use.hours.opens(now)
    return opens is not None and now >= opens - lead


def _next_opening(uses: Sequence[ModelUse], now: datetime) -> datetime | None:
    return min((opens for use in uses if (opens := use.hours.opens(now)) is not None), default=None)


def _next_call(
    uses: Sequence[ModelUse], record: ClusterRecord, policy: IdlePolicy, economy: Economy, now: datetime
) -> datetime | None:
    """When the next wake by schedule must begin."""
    opens = _next_opening([use for use in uses if use.asleep], now)
    return None if opens is None else opens - _lead(record, policy, economy)


def _lead(record: ClusterRecord, policy: IdlePolicy, economy: Economy) -> timedelta:
    """How long before the hours of use a wake begins: nine wakes of ten take no longer, and the timer looks now and then."""
    return economy.figures(record.rung or "pods").wake_p90 + min(policy.period, _LEAD)


def _hindered(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, now: datetime
) -> Stay | None:
    """Why nothing may go at all, if so."""
    order = record.order
    if order is not None and order.kind in ("hold", "wake") and now < order.until:
        return Stay(f"held by {order.by} until {order.until:%d %b %H:%M}", order.until)
    rolling = [use.model for use in uses if not use.settled]
    if rolling:
        return Stay(f"a rollout is under way ({', '.join(rolling)})")
    if any(now - wake.started < policy.wake_limit for wake in record.wakes.values()):
        return Stay("a wake is under way")
    if record.looked is None or not timedelta(0) <= now - record.looked <= 3 * policy.period + _SLACK:
        return Stay("the first look after a pause; the next one decides")
    return None


def _models(uses: Sequence[ModelUse], policy: IdlePolicy, now: datetime) -> SleepModels | None:
    idle = tuple(use.model for use in uses if not use.asleep and now >= _sleep_due(use, policy, now))
    return SleepModels(idle, "no request for long enough") if idle else None


def _sleep_due(use: ModelUse, policy: IdlePolicy, now: datetime) -> datetime:
    """When an awake model's pods may go, if nobody asks before, as far as can be said now."""
    due = use.used + use.after + policy.note
    if use.changed is not None:
        due = max(due, use.changed + max(use.min_awake, policy.min_awake))
    kept = use.hours.kept_until(now)
    return max(due, kept) if kept is not None else due


def _pool(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, economy: Economy,
    now: datetime,
) -> Decision | None:  # fmt: skip
    if not cluster.pool_count or any(use.needs_gpu and not use.asleep for use in uses):
        return None
    if cluster.pool_mode != "User":
        return Stay(f"the GPU pool is a {cluster.pool_mode} pool, and AKS lets only User pools go to 0")
    if (why := _too_slow("pool", policy, economy)) is not None:
        return Stay(why)
    due = _pool_due(uses, record, policy, economy, now)
    if (back := _soon_back(uses, max(due, now), "pool", economy, now)) is not None and now >= due:
        return Stay(f"hours of use begin at {back:%H:%M} UTC, too soon for this to save anything", back)
    if now < due:
        return Stay("the GPU pool waits a little for a request", due)
    decision = EmptyPool("no model that takes a GPU is awake")
    return decision if cluster.pool_owned else Withheld(decision, _untagged("GPU pool"))


def _pool_due(
    uses: Sequence[ModelUse], record: ClusterRecord, policy: IdlePolicy, economy: Economy, now: datetime
) -> datetime:
    """When the GPU pool may go to 0, once no model that takes a GPU is awake."""
    since = max((use.changed or use.used for use in uses if use.asleep), default=record.unneeded or now)
    wait = policy.pool_after if policy.pool_after is not None else economy.break_even("pool")
    due = since + wait
    return max(due, record.woke + policy.min_awake) if record.woke is not None else due


def _cluster(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, economy: Economy,
    now: datetime,
) -> Decision | None:  # fmt: skip
    if (
        policy.stop_after is None
        or record.slept is None
        or any(not use.asleep for use in uses)
        or cluster.pool_count != 0
    ):
        return None
    if jobs := record.exporting(now):
        return Stay(f"a conversion runs on the cluster ({', '.join(sorted(jobs))})", max(jobs.values()))
    if (why := _too_slow("stopped", policy, economy)) is not None:
        return Stay(why)
    due = max([record.slept, *(use.changed or use.used for use in uses)]) + policy.stop_after
    if record.woke is not None:
        due = max(due, record.woke + policy.restart_gap)
    if now < due:
        return Stay("the GPU pool is empty", due)
    if (back := _soon_back(uses, max(due, now) + policy.restart_gap, "stopped", economy, now)) is not None:
        return Stay(f"hours of use begin at {back:%H:%M} UTC, too soon to stop the cluster", back)
    decision = StopCluster("the GPU pool has been empty for long enough")
    return decision if cluster.owned else Withheld(decision, _untagged("cluster"))


def _stopped(
    uses: Sequence[ModelUse], cluster: ClusterState, record: ClusterRecord, policy: IdlePolicy, economy: Economy,
    now: datetime,
) -> Decision:  # fmt: skip
    """While stopped, only start and delete are allowed."""
    called = _next_call(uses, record, policy, economy, now)
    if policy.delete_after is None or record.slept is None:
        return Stay("the cluster is stopped", called)
    due = record.slept + policy.delete_after
    if now < due:
        return Stay("the cluster is stopped", due if called is None else min(due, called))
    decision = DeleteCluster("the cluster has been stopped for long enough")
    if cluster.owned and cluster.may_delete:
        return decision
    return Withheld(
        decision, "its tag 'slipway-may-delete' is not the cluster's name" if cluster.owned else _untagged("cluster")
    )


def _too_slow(rung: str, policy: IdlePolicy, economy: Economy) -> str | None:
    wake = economy.figures(rung).wake_p90
    if policy.max_wake is None or wake <= policy.max_wake:
        return None
    return (
        f"nine wakes of ten from '{rung}' take up to {wake.total_seconds():.0f} s, "
        f"more than the {policy.max_wake.total_seconds():.0f} s allowed"
    )


def _soon_back(
    uses: Sequence[ModelUse], due: datetime, rung: str, economy: Economy, now: datetime
) -> datetime | None:  # fmt: skip
    """When hours of use begin, if that is sooner than what is gained by going."""
    opens = _next_opening(uses, now)
    if opens is None:
        return None
    return opens if opens - economy.figures(rung).wake_p90 < due + economy.break_even(rung) else None


def _untagged(what: str) -> str:
    return f"the {what} does not carry the tag 'slipway': dry run. Tag it 'slipway=owned' if nobody else uses it"


def _nothing(
    uses: Sequence[ModelUse], record: ClusterRecord, policy: IdlePolicy, economy: Economy, now: datetime
) -> Stay:  # fmt: skip
    awake = [use for use in uses if not use.asleep]
    if not awake:
        return Stay("all models are asleep", _next_call(uses, record, policy, economy, now))
    due = min(_sleep_due(use, policy, now) for use in awake)
    kept = [use.model for use in awake if use.hours.opened(now) is not None]
    return Stay("models are in use" if len(kept) < len(awake) else "inside the hours of use", due)
