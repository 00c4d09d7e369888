"""Use case: one bounded step of one model's rollout.

    observe (record, cluster, objects) → plan → note where the rollout stands → execute → ask to be called again

The function may be killed between any two of these, and called twice: what is observed next decides.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from deployer.errors import ClusterUnreachable
from deployer.execute import Executor
from deployer.operations import settle_operation
from deployer.plan import (
    Apply,
    AwaitCluster,
    AwaitPods,
    ClusterView,
    Prove,
    Retire,
    RollBack,
    RolloutPolicy,
    RolloutView,
    Settled,
    Step,
    Switch,
    WakeCluster,
    plan,
)
from deployer.ports import Clock, Cluster, Nodes, RolloutQueue, Workloads
from deployer.record import ModelRecord, RolloutStatus, Stage, stage_done
from deployer.state import State
from deployer.telemetry import span

# The names under which steps stand in a timeline: what users see of a rollout.
_STAGES = {
    "WakeCluster": "wake", "AwaitCluster": "wake", "Apply": "apply", "AwaitPods": "pods", "Prove": "prove",
    "Switch": "switch", "Retire": "retire",
}  # fmt: skip

_LOOKED = timedelta(seconds=30)


@dataclass(frozen=True)
class Rollouts:
    """Advances rollouts; ``advance`` is what the queue function calls."""

    state: State
    cluster: Cluster
    workloads: Workloads
    queue: RolloutQueue
    executor: Executor
    policy: RolloutPolicy
    look_again_seconds: int
    clock: Clock

    def advance(self, model: str) -> Step | None:
        """Performs the next step of the model's rollout, and asks for another look unless it is settled.

        Returns the step, or None where the model is gone.
        """
        record = self.state.find(model)
        if record is None:
            return None
        if record.settled and record.asleep:
            return Settled("asleep")
        cluster, rollout = self.observe(record)
        step = plan(record, cluster, rollout, self.policy, self.clock())
        record = self._note(record, step)
        with span("rollout.step", {"model": model, "step": type(step).__name__}):
            at_once = self.executor.perform(record, step)
        if not isinstance(step, Settled):
            self.queue.ask(model, delay_seconds=0 if at_once else self.look_again_seconds)
        return step

    def observe(self, record: ModelRecord) -> tuple[ClusterView, RolloutView]:
        """The cluster and the model's objects as they are now."""
        state = self.cluster.state()
        known = settle_operation(self.state, self.cluster, self.clock)
        failure, failed = known.failure, known.failed
        if state.power == "Stopped":
            return ClusterView(state, None, failure, failed), RolloutView()
        try:
            nodes: Nodes | None = self.workloads.nodes()
            objects = {work.version: work for work in self.workloads.of(record.name)}
            selected = self.workloads.selected(record.name)
        except ClusterUnreachable:
            # A cluster that is starting answers late; the plan waits for it, within its bound.
            return ClusterView(state, None, failure, failed), RolloutView()
        return ClusterView(state, nodes, failure, failed), RolloutView(objects, selected)

    def _note(self, record: ModelRecord, step: Step) -> ModelRecord:
        """Writes down where the rollout stands, and the stage that ended with it."""
        now = self.clock()
        ended: list[Stage] = []

        def noted(before: ModelRecord) -> ModelRecord:
            ended.clear()
            status = before.rollout
            if before.desired is None or before.desired != record.desired or before.asleep:
                return before
            name, message = type(step).__name__, _message(step)
            if status is not None and isinstance(step, Settled | RollBack):
                ended.append(_ended(status, now, step))
            if isinstance(step, RollBack):
                return before  # the executor closes the rollout; until then the plan must see where it stood
            if isinstance(step, Settled):
                return before.but(rollout=None)
            if status is None or status.version != before.desired:
                if status is not None:
                    ended.append(_ended(status, now, step))
                status = RolloutStatus(
                    version=before.desired, started=now, step=name, since=now, looked=now, message=message
                )
                return before.but(rollout=status)
            looked = now if now - status.looked > _LOOKED else status.looked
            if _STAGES[status.step] != _STAGES[name]:
                ended.append(_ended(status, now, step))
                return before.but(rollout=status.but(step=name, since=now, looked=looked, message=message))
            return before.but(rollout=status.but(step=name, looked=looked, message=message))

        changed = self.state.change(record.name, noted)
        for stage in ended:
            if stage.version is not None:
                self.state.note(record.name, stage.version, stage)
        return changed


def _ended(status: RolloutStatus, now: datetime, step: Step) -> Stage:
    return stage_done(
        _STAGES[status.step], status.since, now, failed=isinstance(step, RollBack), version=status.version,
        detail=step.reason if isinstance(step, RollBack) else status.message,
    )  # fmt: skip


def _message(step: Step) -> str:
    match step:
        case AwaitCluster(message) | AwaitPods(message) | Settled(message):
            return message
        case WakeCluster(start=True):
            return "starting the cluster"
        case WakeCluster(nodes=nodes):
            return f"GPU pool to {nodes}"
        case Apply(version, replicas):
            return f"v{version} to {replicas} replica{'' if replicas == 1 else 's'}"
        case Prove(version):
            return f"v{version} answers its golden request"
        case Switch(version):
            return f"requests go to v{version}"
        case RollBack(reason=reason):
            return reason
        case Retire(versions):
            return ", ".join(f"v{version}" for version in versions) + " goes"
