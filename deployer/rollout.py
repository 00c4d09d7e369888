"""Use case: one bounded step of one model's rollout.

    observe (record, cluster, objects) → plan → note where the rollout stands → execute → ask to be called again

The function may be killed between any two of these, and called twice: what is observed next decides. What is ordered of Azure is
observed and planned once more under the cluster's lease, which the idle ladder takes as well: nothing is ordered twice.

Each look asks for the next, so that a second message would go on beside the first for as long as the rollout lasts. Therefore
looks form a chain: whoever asks anew begins another, and what the one before had asked for is passed over when it comes.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from uuid import uuid4

from deployer.errors import AzureRefused, ClusterDeleted, ClusterUnreachable
from deployer.execute import Executor
from deployer.operations import refusals_noted, settle_operation, waited_out
from deployer.plan import plan
from deployer.ports import Clock, Cluster, Documents, Nodes, RolloutQueue, Workloads
from deployer.record import ModelRecord, RolloutStatus
from deployer.state import State
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
from deployer.telemetry import span
from deployer.timeline import Stage, stage_done
from deployer.wake_stages import reached

# The names under which steps stand in a timeline: what users see of a rollout.
_STAGES = {
    "WakeCluster": "wake", "AwaitCluster": "wake", "Apply": "apply", "AwaitPods": "pods", "Prove": "prove",
    "Switch": "switch", "Retire": "retire", "AwaitRestart": "restart-gap", "Try": "canary", "AwaitCanary": "canary",
    "EndTrial": "canary", "Forget": "retire",
}  # fmt: skip

_LOOKED = timedelta(seconds=30)
_PAUSE = timedelta(minutes=5)  # without a look: longer than between any two of a rollout under way
_LONG_WAIT = 30  # seconds between two looks at what takes many minutes
_TRIAL = 10  # seconds between two looks at a version on trial
_SOON = timedelta(seconds=30)  # a small model's pod on a warm node is there by then, and is looked for each second


@dataclass(frozen=True)
class Rollouts:
    """Advances rollouts; ``advance`` is what the queue function calls."""

    state: State
    documents: Documents
    cluster: Cluster
    workloads: Workloads
    queue: RolloutQueue
    executor: Executor
    policy: RolloutPolicy
    look_again_seconds: int
    clock: Clock

    def advance(self, model: str, chain: str | None = None) -> Step | None:
        """Performs the next step of the model's rollout, and asks for another look unless it is settled.

        ``chain``: of the look that asked for this one; None where somebody else did, or the platform calls again.

        Returns the step, or None where the model is gone or another chain goes on. What Azure refuses for a while is told in the
        rollout's message and looked at again when Azure wants to be asked.

        Raises:
            AzureRefused: what time alone does not heal; also told, and the platform calls again.
        """
        record = self.state.find(model)
        if record is None:
            return None
        if record.settled and record.asleep:
            return Settled("asleep")
        if chain is not None and record.rollout is not None and record.rollout.chain not in (None, chain):
            return None
        chain = chain or uuid4().hex[:8]
        try:
            return self._advance(record, chain)
        except AzureRefused as refused:
            self._tell(record, refused, chain)
            if isinstance(refused, ClusterDeleted):  # nothing comes of asking again at once: the sweep does
                return AwaitCluster(refused.in_line, "cluster")
            if not waited_out(refused):
                raise
            pause = max(self.look_again_seconds, ceil(refused.retry_after or 0))
            self.queue.ask(model, delay_seconds=pause, chain=chain)
            return AwaitCluster(refused.in_line, "gpu-pool")

    def _advance(self, record: ModelRecord, chain: str) -> Step:
        record = self._rested(record)
        cluster, rollout = self.observe(record)
        step = plan(record, cluster, rollout, self.policy, self.clock())
        record = self._note(record, step, chain)
        with span("rollout.step", {"model": record.name, "step": type(step).__name__}):
            at_once = self._perform(record, step)
        if not isinstance(step, Settled):
            self.queue.ask(record.name, delay_seconds=0 if at_once else self._pause(record, step), chain=chain)
        return step

    def _rested(self, record: ModelRecord) -> ModelRecord:
        """The record, in which time that passed without a look does not count for the rollout's bounds.

        The app did not run, or a clock jumped: neither is the version's fault.
        """
        now, longest = self.clock(), max(_PAUSE, timedelta(seconds=3 * self.look_again_seconds))

        def paused(before: ModelRecord) -> timedelta | None:
            gap = now - before.rollout.looked if before.rollout is not None else timedelta(0)
            return None if -_LOOKED <= gap <= longest else gap

        def rested(before: ModelRecord) -> ModelRecord:
            status, gap = before.rollout, paused(before)
            if status is None or gap is None:
                return before
            return before.but(rollout=status.but(since=status.since + gap, looked=now))

        return record if paused(record) is None else self.state.change(record.name, rested)

    def _perform(self, record: ModelRecord, step: Step) -> bool:
        if not isinstance(step, WakeCluster):
            return self.executor.perform(record, step)
        with self.documents.lease("cluster") as held:
            if held is None or self._replanned(record.name) != step:
                return False  # another is at the cluster, or was: the next look sees what came of it
            held.check()
            with refusals_noted(self.state, self.clock, None if step.start else step.pool):
                return self.executor.perform(record, step)

    def _replanned(self, model: str) -> Step | None:
        """What is to be done now; None where the model is gone."""
        record = self.state.find(model)
        if record is None:
            return None
        cluster, rollout = self.observe(record)
        return plan(record, cluster, rollout, self.policy, self.clock())

    def _pause(self, record: ModelRecord, step: Step) -> int:
        match step:
            case AwaitPods() if record.waited({"AwaitPods"}, self.clock()) < _SOON:
                return min(self.look_again_seconds, 1)
            case AwaitRestart():
                return max(self.look_again_seconds, _LONG_WAIT)
            case AwaitCanary():
                return max(self.look_again_seconds, _TRIAL)
            case _:
                return self.look_again_seconds

    def _tell(self, record: ModelRecord, refused: AzureRefused, chain: str) -> None:
        """Says in the model's record what keeps its rollout: the cluster cannot even be looked at, say."""
        now = self.clock()

        def told(before: ModelRecord) -> ModelRecord:
            if before.settled or before.desired is None:
                return before
            status = before.rollout or RolloutStatus(
                version=before.desired, started=now, step="AwaitCluster", since=now, looked=now
            )
            return before.but(rollout=status.but(message=refused.in_line, chain=chain))

        self.state.change(record.name, told)

    def observe(self, record: ModelRecord) -> tuple[ClusterView, RolloutView]:
        """The cluster and the model's objects as they are now."""
        state = self.cluster.state()
        known = settle_operation(self.state, self.cluster, self.clock)
        slept = known.slept if known.rung == "stopped" else None
        view = ClusterView(state, None, known.failure, known.failed, known.again, known.refused, slept, known.leaving)
        if state.power == "Stopped":
            return view, RolloutView()
        try:
            nodes: Nodes | None = self.workloads.nodes()
            objects = {work.version: work for work in self.workloads.of(record.name)}
            selected = self.workloads.selected(record.name)
        except ClusterUnreachable:
            # A cluster that is starting answers late; the plan waits for it, within its bound.
            return view, RolloutView()
        status = record.rollout
        on_trial = record.route is not None and record.route.canary is not None
        began = status.trial if status is not None and on_trial else None
        figures = self.state.figures(record.name, began) if began is not None else {}
        return replace(view, nodes=nodes), RolloutView(objects, selected, figures)

    def _note(self, record: ModelRecord, step: Step, chain: str) -> ModelRecord:
        """Writes down where the rollout stands, the stage that ended with it, and whose looks go on."""
        now = self.clock()
        ended: list[Stage] = []

        def noted(before: ModelRecord) -> ModelRecord:
            ended.clear()
            status = before.rollout
            if before.desired is None and isinstance(step, Settled):  # retired, and its objects are gone
                return before.but(rollout=None)
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
                    version=before.desired, started=now, step=name, since=now, looked=now, message=message,
                    reached=reached((), step, now),
                )  # fmt: skip
                return before.but(rollout=status)
            status = status.but(reached=reached(status.reached, step, now))
            looked = now if now - status.looked > _LOOKED else status.looked
            if _STAGES[status.step] != _STAGES[name]:
                ended.append(_ended(status, now, step))
                return before.but(rollout=status.but(step=name, since=now, looked=looked, message=message))
            return before.but(rollout=status.but(step=name, looked=looked, message=message))

        def written(before: ModelRecord) -> ModelRecord:
            after = noted(before).with_stages(*ended)
            return after if isinstance(step, Settled) else _chained(after, chain)  # which asks for no other look

        return self.state.change(record.name, written)


def _chained(record: ModelRecord, chain: str) -> ModelRecord:
    return record if record.rollout is None else record.but(rollout=record.rollout.but(chain=chain))


def _ended(status: RolloutStatus, now: datetime, step: Step) -> Stage:
    return stage_done(
        _STAGES[status.step], status.since, now, failed=isinstance(step, RollBack), version=status.version,
        detail=step.reason if isinstance(step, RollBack) else status.message,
    )  # fmt: skip


def _message(step: Step) -> str:
    match step:
        case AwaitCluster(message=message) | AwaitPods(message) | AwaitCanary(message) | Settled(message):
            return message
        case AwaitRestart(message=message):
            return message
        case WakeCluster(start=True):
            return "starting the cluster"
        case WakeCluster(nodes=nodes, pool=pool):
            return f"GPU pool '{pool}' to {nodes}"
        case Apply(version, replicas):
            return f"v{version} to {replicas} replica{'' if replicas == 1 else 's'}"
        case Prove(version):
            return f"v{version} answers its golden request"
        case Try(version, share=share):
            return f"{share:g} % of the requests go to v{version}"
        case EndTrial(version):
            return f"v{version} is no longer on trial"
        case Switch(version):
            return f"requests go to v{version}"
        case RollBack(reason=reason):
            return reason
        case Retire(versions):
            return ", ".join(f"v{version}" for version in versions) + " goes"
        case Forget(versions):
            return f"servable of {', '.join(f'v{version}' for version in versions)} is deleted"
