"""Use case: take down what is idle, one rung at a time; and put everything to sleep by command.

The decision is ``plan_idle``'s. It is taken under the cluster's lease, and a model's last use is read again before its pods
go. A model is marked asleep before its pods go, so that a request that comes meanwhile wakes it; a teardown cut short is
finished by the next, which scales down what is marked asleep.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from deployer.activity import last_requests
from deployer.idle import Decision, EmptyPool, IdlePolicy, ModelUse, SleepModels, Stay, StopCluster, plan_idle
from deployer.operations import settle_operation
from deployer.ports import Clock, Cluster, Documents, Workloads
from deployer.record import ClusterRecord, ModelRecord, Operation
from deployer.state import State
from deployer.telemetry import logger, span

log = logger(__name__)

_UNFINISHED = timedelta(hours=1)  # how long after it fell asleep a model's deployments are looked at again


@dataclass(frozen=True)
class Teardown:
    """The idle ladder; ``run`` is what the timer function calls."""

    state: State
    documents: Documents
    cluster: Cluster
    workloads: Workloads
    policy: IdlePolicy
    after: timedelta
    clock: Clock

    def decide(self) -> Decision:
        """What would go now."""
        record, state = settle_operation(self.state, self.cluster, self.clock), self.cluster.state()
        if record.operation is None and not state.busy and state.power == "Running":
            now = self.clock()
            record = self.state.change_cluster(
                lambda before: _as_found(before, pool_empty=state.pool_count == 0, now=now)
            )
        return plan_idle(self._uses(), state, record, self.policy, self.clock())

    def run(self) -> Decision | None:
        """Decides and performs; None where another instance is at it."""
        with self.documents.lease("cluster") as held:
            if not held:
                return None
            decision = self.decide()
            log.info("idle: %s", decision)
            with span("teardown", {"decision": type(decision).__name__}):
                self._perform(decision)
            return decision

    def sleep_all(self) -> None:
        """Puts all models to sleep and empties the GPU pool, now, by command.

        A model whose next version is on its way stays, and with it the pool.
        """
        with self.documents.lease("cluster") as held:
            if not held:
                return
            settle_operation(self.state, self.cluster, self.clock)
            self._sleep(tuple(use.model for use in self._uses() if not use.asleep), recheck=False)
            still_needed = any(use.needs_gpu and not use.asleep for use in self._uses())
            state = self.cluster.state()
            if not still_needed and state.power == "Running" and not state.busy and state.pool_count > 0:
                self._empty_pool()

    def _uses(self) -> list[ModelUse]:
        requests = last_requests(self.documents)
        records = [record for name in self.state.models() if (record := self.state.find(name)) is not None]
        return [_use(record, self.after, requests) for record in records if record.desired is not None]

    def _perform(self, decision: Decision) -> None:
        match decision:
            case SleepModels(models):
                self._sleep(models, recheck=True)
            case EmptyPool():
                self._finish_sleep()
                self._empty_pool()
            case StopCluster():
                now = self.clock()
                operation = Operation(kind="stop", started=now, token=self.cluster.begin_stop(), by="idle")
                self.state.change_cluster(lambda before: before.but(operation=operation, rung="stopped", slept=now))
            case Stay():
                self._finish_sleep()

    def _sleep(self, models: tuple[str, ...], *, recheck: bool) -> None:
        now = self.clock()
        requests = last_requests(self.documents) if recheck else {}

        def asleep(record: ModelRecord) -> ModelRecord:
            use = _use(record, self.after, requests)
            serving = record.route is not None and record.route.version == record.desired
            if record.asleep or not (record.settled or (serving and not recheck)):
                return record
            if recheck and now < use.used + use.after + self.policy.note:
                return record
            return record.but(asleep=True, route=None, rollout=None, changed_rung=now)

        for model in models:
            record = self.state.change(model, asleep)
            if record.asleep:
                self._scale_down(record)

    def _finish_sleep(self) -> None:
        """Scales down what was marked asleep by a teardown that was cut short."""
        if self.cluster.state().power == "Stopped":
            return
        now = self.clock()
        for name in self.state.models():
            record = self.state.find(name)
            if record and record.asleep and record.changed_rung and now - record.changed_rung < _UNFINISHED:
                self._scale_down(record)

    def _scale_down(self, record: ModelRecord) -> None:
        for work in self.workloads.of(record.name):
            if work.replicas > 0:
                self.workloads.scale(record.name, work.version, 0)

    def _empty_pool(self) -> None:
        now = self.clock()
        operation = Operation(kind="pool", started=now, token=self.cluster.begin_pool(0), target=0, by="idle")
        self.state.change_cluster(lambda before: before.but(operation=operation, rung="pool", slept=now, failure=None))


def _as_found(record: ClusterRecord, *, pool_empty: bool, now: datetime) -> ClusterRecord:
    """The running cluster's rung as it is: its change may have been killed before it was noted, or be somebody else's."""
    if record.operation is not None or pool_empty == (record.rung is not None):
        return record
    return record.but(rung="pool" if pool_empty else None, slept=now if pool_empty else None)


def _use(record: ModelRecord, after: timedelta, requests: dict[str, datetime]) -> ModelUse:
    marks = [
        requests.get(record.name), record.changed_rung, record.upload.at if record.upload else None,
        record.version(record.desired).created if record.desired is not None else None, record.served,
    ]  # fmt: skip
    wanted = record.version(record.desired).serve if record.desired is not None else None
    own = wanted.idle.after if wanted else None
    return ModelUse(
        model=record.name, used=max(mark for mark in marks if mark is not None) if any(marks) else record.updated,
        after=own or after, needs_gpu=bool(wanted and wanted.gpus), asleep=record.asleep, settled=record.settled,
    )  # fmt: skip
