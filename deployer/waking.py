"""Use case: bring a sleeping model back, once, however many ask; and say how long it will take."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from deployer.errors import ClusterDeleted, Waking
from deployer.ports import Clock, RolloutQueue
from deployer.record import Cause, ClusterRecord, ModelRecord, wake_begun, wake_deepened
from deployer.state import State
from deployer.telemetry import woken as count_wake
from deployer.wake_stages import Progress, progress


@dataclass(frozen=True)
class Waker:
    """Wakes models. ``guesses``: seconds a wake takes from each rung, until this cluster's own times are known.

    ``restart_gap``: the least time between a cluster's stop and its start.
    """

    state: State
    queue: RolloutQueue
    guesses: Mapping[str, float]
    restart_gap: timedelta
    clock: Clock

    def wake(self, model: str, *, by: str, why: str = "") -> ModelRecord:
        """Marks the model awake and asks for its rollout, which brings up what is missing. Waking the awake does nothing.

        Raises:
            ClusterDeleted: the idle ladder deleted the cluster, and none was seen again by the timer or a command.
        """
        now = self.clock()
        before = self.state.model(model)
        if not before.asleep:
            return before
        if self.state.cluster().rung == "deleted":
            raise ClusterDeleted
        mine = False

        def awake(record: ModelRecord) -> ModelRecord:
            nonlocal mine
            mine = record.asleep
            return record.but(asleep=False, changed_rung=now).noting(now, by, "woken") if mine else record

        after = self.state.change(model, awake)
        if not mine:  # another instance was first; should it be killed before it has asked, the sweep asks
            return after
        count_wake(model, by)

        cause = Cause(by=by, why=why or f"'{model}' was asked for", at=now)
        on_gpu = _on_gpu(after)

        def woken(record: ClusterRecord) -> ClusterRecord:
            return wake_begun(record, model, by, now, on_gpu=on_gpu).but(cause=record.cause if record.wakes else cause)

        self.state.change_cluster(woken)
        self.queue.ask(model)
        return after

    def bring_back(self, model: str) -> None:
        """Its nodes went while it was to serve: a request came between a teardown's last look and its order to Azure."""
        now = self.clock()
        self.state.change(model, lambda record: record.but(route=None, rollout=None) if not record.asleep else record)
        cause = Cause(by="timer", why=f"'{model}' was asked for while its nodes went", at=now)
        self.state.change_cluster(
            lambda record: wake_deepened(record, model, record.rung or "pool", now).but(cause=cause)
        )
        self.queue.ask(model)

    def progress(self, record: ModelRecord, cluster: ClusterRecord) -> Progress:
        """How far a model is that wakes, or whose first version is on the way."""
        wake, rollout, now = cluster.wakes.get(record.name), record.rollout, self.clock()
        begun = wake.started if wake else rollout.started if rollout else now
        return progress(
            rollout.reached if rollout else (), begun, wake.rung if wake else cluster.rung or "pods", cluster,
            self.guesses, now,
            on_gpu=_on_gpu(record), restart_gap=self.restart_gap,
        )  # fmt: skip

    def estimate(self, record: ModelRecord) -> Waking:
        """What to tell a caller of a model that is on its way: when to come back, and how far it is."""
        seen = self.progress(record, self.state.cluster()).view()
        left, stage = seen["eta_seconds"], seen["stage"]
        if record.upload is not None and record.arriving:
            stage = record.upload.state
        doing = f": {record.rollout.message}" if record.rollout and record.rollout.message else f": {stage}"
        verb = "on its way" if record.arriving else "waking"
        return Waking(
            f"'{record.name}' is {verb}{doing}. About {left} s remain.", eta_seconds=left, stage=stage,
            stages=seen["stages"],
        )  # fmt: skip


def _on_gpu(record: ModelRecord) -> bool:
    return record.desired is None or record.version(record.desired).serve.gpus > 0
