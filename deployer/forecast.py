"""What the idle ladder would do from now on if nobody asked anything: a dry run of ``plan_idle``. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from deployer.economy import Economy
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
from deployer.record import ClusterRecord

_STEPS = 20
_INSTANT = timedelta(microseconds=1)
_FRESH = timedelta(minutes=1)  # a wake may have begun since the models were read


@dataclass(frozen=True)
class Situation:
    """All that the ladder looks at."""

    uses: tuple[ModelUse, ...]
    cluster: ClusterState
    record: ClusterRecord

    def noted(self, now: datetime) -> "Situation":
        """With what a look at it says of its record: the rung it is on, since when the pool has been up for nobody, and which
        wakes came to no end that was noted, as their models were removed or served all the while.
        """
        record, cluster = self.record, self.cluster
        unsettled = {use.model for use in self.uses if not use.settled}
        wakes = {
            name: wake
            for name, wake in record.wakes.items()
            if name in unsettled or timedelta(0) <= now - wake.started < _FRESH
        }
        if wakes != record.wakes:
            record = record.but(wakes=wakes)
        if record.rung == "deleted" and record.operation is None:  # it was not, or there is one again
            record = record.but(rung="stopped" if cluster.power == "Stopped" else "pool")
        if record.operation is not None or cluster.busy or cluster.power != "Running":
            return replace(self, record=record)
        empty = cluster.pool_count == 0
        if empty == (record.rung is None):  # its change was killed before it was noted, or somebody else made it
            record = record.but(rung="pool" if empty else None, slept=now if empty else None)
        needed = not cluster.pool_count or any(use.needs_gpu and not use.asleep for use in self.uses)
        unneeded = None if needed else record.unneeded or now
        return replace(self, record=record if unneeded == record.unneeded else record.but(unneeded=unneeded))

    def plan(self, policy: IdlePolicy, economy: Economy, now: datetime) -> Decision:
        """The decision at a look that is not late."""
        return plan_idle(self.uses, self.cluster, self.record.but(looked=now), policy, economy, now)

    def after(self, decision: Decision, now: datetime, *, gpu_nodes: int) -> "Situation":
        """What it is once the decision has been carried out, in no time."""
        match decision:
            case SleepModels(models):
                return replace(self, uses=self._changed(models, asleep=True, now=now))
            case WakeModels(models):
                up = any(use.needs_gpu for use in self.uses if use.model in models)
                cluster = replace(
                    self.cluster,
                    power="Running",
                    pool_count=gpu_nodes if up and self.cluster.pool_count is not None else self.cluster.pool_count,
                )
                record = self.record.but(
                    rung=None if up else self.record.rung, woke=now, slept=None if up else self.record.slept
                )
                return Situation(self._changed(models, asleep=False, now=now), cluster, record)
            case EmptyPool():
                return replace(
                    self, cluster=replace(self.cluster, pool_count=0), record=self.record.but(rung="pool", slept=now)
                )
            case StopCluster():
                return replace(
                    self,
                    cluster=replace(self.cluster, power="Stopped"),
                    record=self.record.but(rung="stopped", slept=now),
                )
            case DeleteCluster() | Withheld() | Stay():
                return self

    def _changed(self, models: Sequence[str], *, asleep: bool, now: datetime) -> tuple[ModelUse, ...]:
        return tuple(
            replace(use, asleep=asleep, changed=now, used=max(use.used, now)) if use.model in models else use
            for use in self.uses
        )


@dataclass(frozen=True)
class Coming:
    """One thing that would be done, and when."""

    at: datetime
    decision: Decision


def forecast(
    situation: Situation, policy: IdlePolicy, economy: Economy, now: datetime, *, gpu_nodes: int, until: datetime
) -> tuple[Coming, ...]:
    """What would be done from now on, in order; and last the ``Stay`` at which nothing more is foreseen."""
    coming: list[Coming] = []
    at = now
    for _ in range(_STEPS):
        situation = situation.noted(at)
        decision = situation.plan(policy, economy, at)
        match decision:
            case Stay(_, due) if due is not None and due <= until:
                at = max(due, at + _INSTANT)
            case Stay() | Withheld() | DeleteCluster():
                return (*coming, Coming(at, decision))
            case _:
                coming.append(Coming(at, decision))
                situation = situation.after(decision, at, gpu_nodes=gpu_nodes)
    return tuple(coming)
