"""Use case: bring a sleeping model back, once, however many ask; and say how long it will take."""

from collections.abc import Mapping
from dataclasses import dataclass

from deployer.errors import Waking
from deployer.ports import Clock, RolloutQueue
from deployer.record import Cause, ClusterRecord, ModelRecord, wake_begun
from deployer.state import State

_STAGES = {"WakeCluster": "gpu-node", "AwaitCluster": "gpu-node", "Apply": "pods", "AwaitPods": "pods"}


@dataclass(frozen=True)
class Waker:
    """Wakes models. ``guesses``: seconds a wake takes from each rung, until this cluster's own times are known."""

    state: State
    queue: RolloutQueue
    guesses: Mapping[str, float]
    clock: Clock

    def wake(self, model: str, *, by: str, why: str = "") -> ModelRecord:
        """Marks the model awake and asks for its rollout, which brings up what is missing. Waking the awake does nothing."""
        now = self.clock()
        before = self.state.model(model)
        if not before.asleep:
            return before
        after = self.state.change(
            model,
            lambda record: (
                record.but(asleep=False, changed_rung=now).noting(now, by, "woken") if record.asleep else record
            ),
        )

        cause = Cause(by=by, why=why or f"'{model}' was asked for", at=now)

        def woken(record: ClusterRecord) -> ClusterRecord:
            return wake_begun(record, model, by, now).but(cause=record.cause if record.wakes else cause)

        self.state.change_cluster(woken)
        self.queue.ask(model)
        return after

    def estimate(self, record: ModelRecord) -> Waking:
        """What to tell a caller of a model that is on its way: when to come back, and how far it is."""
        cluster = self.state.cluster()
        wake, now = cluster.wakes.get(record.name), self.clock()
        total = cluster.estimate(wake.rung if wake else "pods", self.guesses)
        started = wake.started if wake else record.rollout.started if record.rollout else now
        left = max(1, round(total - (now - started).total_seconds()))
        stage = _STAGES.get(record.rollout.step, "proof") if record.rollout else "queued"
        if record.upload is not None and record.arriving:
            stage = record.upload.state
        doing = f": {record.rollout.message}" if record.rollout and record.rollout.message else f": {stage}"
        verb = "on its way" if record.arriving else "waking"
        return Waking(f"'{record.name}' is {verb}{doing}. About {left} s remain.", eta_seconds=left, stage=stage)
