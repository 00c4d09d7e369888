"""Use case: take down what is idle, one rung at a time; bring back what its hours call; and do both by command.

The decision is ``plan_idle``'s. It is taken under the cluster's lease, and a model's last use is read again before its pods
go. A model is marked asleep before its pods go, so that a request that comes meanwhile wakes it; a teardown cut short is
finished by the next, which scales down what is marked asleep.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from deployer.activity import last_requests
from deployer.bridging import Bridges
from deployer.economy import Costs
from deployer.errors import Conflict
from deployer.forecast import Coming, Situation, forecast
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
from deployer.ledger import Ledger
from deployer.operations import refusals_noted, settle_operation
from deployer.options import IdleOptions
from deployer.ports import Clock, Cluster, Documents, Workloads
from deployer.record import Cause, ModelRecord, Operation, Order, OrderKind
from deployer.state import State
from deployer.telemetry import logger, span
from deployer.waking import Waker
from deployer.windows import Hours, Window

log = logger(__name__)

HEARTBEAT = "timers/teardown"
_UNFINISHED = timedelta(hours=1)  # how long after it fell asleep a model's deployments are looked at again


@dataclass(frozen=True)
class IdleDefaults:
    """What holds for a model whose options say nothing of it."""

    after: timedelta
    windows: tuple[Window, ...] = ()
    days_off: frozenset[date] = frozenset()


@dataclass(frozen=True)
class Teardown:
    """The idle ladder; ``run`` is what the timer function calls."""

    state: State
    documents: Documents
    cluster: Cluster
    workloads: Workloads
    waker: Waker
    ledger: Ledger
    policy: IdlePolicy
    defaults: IdleDefaults
    costs: Costs
    clock: Clock
    bridges: Bridges

    def decide(self) -> Decision:
        """What would go now, if the timer looked."""
        now = self.clock()
        situation = self._situation()
        return situation.plan(self.policy, self.costs.economy(situation.cluster, situation.record.wake_times), now)

    def coming(self, until: timedelta) -> tuple[Situation, tuple[Coming, ...]]:
        """What is, and what would be done in this time if nobody asked anything."""
        now, situation = self.clock(), self._situation()
        economy = self.costs.economy(situation.cluster, situation.record.wake_times)
        return situation, forecast(
            situation, self.policy, economy, now, gpu_nodes=self.costs.gpu_nodes, until=now + until
        )

    def run(self) -> Decision | None:
        """Decides and performs; None where another instance is at it."""
        with self.documents.lease("cluster") as held:
            self.documents.put(HEARTBEAT, b"")
            if not held:
                return None
            situation, now = self._situation(), self.clock()
            economy = self.costs.economy(situation.cluster, situation.record.wake_times)
            self._bring_back(situation)
            decision = plan_idle(situation.uses, situation.cluster, situation.record, self.policy, economy, now)
            self.state.change_cluster(lambda before: before.but(looked=now))
            log.info("idle: %s", decision)
            held.check()
            with span("teardown", {"decision": type(decision).__name__}):
                self._perform(decision)
            self.look()
            self.bridges.run()
            return decision

    def look(self) -> None:
        """Writes into the ledger what runs now, if it is something else than it says."""
        self.ledger.look(self.cluster.state(), self.state.cluster(), self._records())

    def order(self, kind: OrderKind, lasts: timedelta, *, by: str) -> None:
        """What somebody commands outranks the policy for this time. Sleep and wake are also done, at once.

        Raises:
            Conflict: ``busy``, another instance is at the ladder.
        """
        now = self.clock()
        order = Order(kind=kind, until=now + lasts, by=by, at=now)
        self.state.change_cluster(lambda before: before.but(order=order))
        match kind:
            case "sleep":
                self._sleep_all(by)
            case "wake":
                for record in self._records():
                    if record.asleep:
                        self.waker.wake(record.name, by=by, why="a command")
            case "hold":
                pass
        self.look()

    def _sleep_all(self, by: str) -> None:
        """Puts all models to sleep and empties the GPU pool, now.

        A model whose next version is on its way stays, and with it the pool.

        Raises:
            Conflict: ``busy``: the idle timer is at it, or another such command.
        """
        with self.documents.lease("cluster") as held:
            if not held:
                raise Conflict("busy", "Another instance is taking compute down.", "Try again in a minute.")
            settle_operation(self.state, self.cluster, self.clock)
            self._sleep(
                tuple(use.model for use in self._uses() if not use.asleep), by=by, why="a command", recheck=False
            )
            still_needed = any(use.needs_gpu and not use.asleep for use in self._uses())
            state = self.cluster.state()
            ours = state.pool_owned and state.pool_mode == "User"
            if ours and not still_needed and state.power == "Running" and not state.busy and state.pool_count:
                self._empty_pool(by=by, why="a command")

    def _situation(self) -> Situation:
        settle_operation(self.state, self.cluster, self.clock)
        now, state, uses = self.clock(), self.cluster.state(), tuple(self._uses())
        record = self.state.change_cluster(lambda before: Situation(uses, state, before).noted(now).record)
        return Situation(uses, state, record)

    def _records(self) -> list[ModelRecord]:
        return [record for name in self.state.models() if (record := self.state.find(name)) is not None]

    def _uses(self) -> list[ModelUse]:
        requests = last_requests(self.documents)
        return [_use(record, self.defaults, requests) for record in self._records() if record.desired is not None]

    def _needed(self, decision: Decision) -> bool:
        """Whether a model has been woken, or a conversion begun, since the decision that needs what would go."""
        if isinstance(decision, StopCluster) and self.state.cluster().exporting(self.clock()):
            return True
        awake = [use for use in self._uses() if not use.asleep]
        return any(use.needs_gpu for use in awake) if isinstance(decision, EmptyPool) else bool(awake)

    def _bring_back(self, situation: Situation) -> None:
        """Brings back what is to serve and whose nodes have gone all the same: nothing else would look at it again."""
        state, record = situation.cluster, situation.record
        if state.busy or record.operation is not None:
            return
        for model in self._records():
            if model.route is None or model.desired is None or model.asleep or not model.settled:
                continue
            gpus = model.version(model.desired).serve.gpus
            if state.power == "Stopped" or (gpus > 0 and state.pool_count == 0):
                log.warning("idle: '%s' is to serve, and its nodes have gone; they come back", model.name)
                self.waker.bring_back(model.name)

    def _perform(self, decision: Decision) -> None:
        match decision:
            case SleepModels(models, reason):
                self._sleep(models, by="timer", why=reason, recheck=True)
            case WakeModels(models, reason):
                for model in models:
                    self.waker.wake(model, by="timer", why=reason)
            case EmptyPool() | StopCluster() | DeleteCluster() if self._needed(decision):
                log.info("idle: a model was asked for meanwhile")
            case EmptyPool(reason):
                self._finish_sleep()
                self._empty_pool(by="timer", why=reason)
            case StopCluster(reason):
                self._caused("timer", reason)
                now = self.clock()
                with refusals_noted(self.state, self.clock):
                    token = self.cluster.begin_stop()
                operation = Operation(kind="stop", started=now, token=token, by="idle")
                self.state.change_cluster(lambda before: before.but(operation=operation, rung="stopped", slept=now))
            case DeleteCluster(reason):
                self._caused("timer", reason)
                now = self.clock()
                with refusals_noted(self.state, self.clock):
                    token = self.cluster.begin_delete()
                operation = Operation(kind="delete", started=now, token=token, by="idle")
                self.state.change_cluster(lambda before: before.but(operation=operation, rung="deleted", slept=now))
            case Withheld(_, reason):
                log.warning("idle: %s", reason)
                self._finish_sleep()
            case Stay():
                self._finish_sleep()

    def _sleep(self, models: tuple[str, ...], *, by: str, why: str, recheck: bool) -> None:
        now = self.clock()
        requests = last_requests(self.documents) if recheck else {}

        def asleep(record: ModelRecord) -> ModelRecord:
            use = _use(record, self.defaults, requests)
            serving = record.route is not None and record.route.version == record.desired
            if record.asleep or not (record.settled or (serving and not recheck)):
                return record
            if recheck and now < use.used + use.after + self.policy.note:
                return record
            gone = record.but(asleep=True, route=None, rollout=None, changed_rung=now)
            return gone.noting(now, "idle ladder" if recheck else "command", "put to sleep")

        self._caused(by, why)
        for model in models:
            record = self.state.change(model, asleep)
            if record.asleep:
                self._scale_down(record)

    def _caused(self, by: str, why: str) -> None:
        cause = Cause(by=by, why=why, at=self.clock())
        self.state.change_cluster(lambda before: before.but(cause=cause))

    def _finish_sleep(self) -> None:
        """Scales down what was marked asleep by a teardown that was cut short."""
        if self.cluster.state().power == "Stopped":
            return
        now = self.clock()
        for record in self._records():
            if record.asleep and record.changed_rung and now - record.changed_rung < _UNFINISHED:
                self._scale_down(record)

    def _scale_down(self, record: ModelRecord) -> None:
        for work in self.workloads.of(record.name):
            if work.replicas > 0:
                self.workloads.scale(record.name, work.version, 0)

    def _empty_pool(self, *, by: str, why: str) -> None:
        self._caused(by, why)
        now = self.clock()
        with refusals_noted(self.state, self.clock):
            token = self.cluster.begin_pool(0)
        operation = Operation(kind="pool", started=now, token=token, target=0, by="idle")
        self.state.change_cluster(lambda before: before.but(operation=operation, rung="pool", slept=now, failure=None))


def _use(record: ModelRecord, defaults: IdleDefaults, requests: dict[str, datetime]) -> ModelUse:
    marks = [
        requests.get(record.name), record.changed_rung, record.upload.at if record.upload else None,
        record.version(record.desired).created if record.desired is not None else None, record.served,
    ]  # fmt: skip
    wanted = record.version(record.desired).serve if record.desired is not None else None
    own = wanted.idle if wanted else IdleOptions()
    windows = defaults.windows if own.keep_awake is None else own.keep_awake
    days_off = defaults.days_off if own.days_off is None else frozenset(own.days_off)
    return ModelUse(
        model=record.name, used=max(mark for mark in marks if mark is not None) if any(marks) else record.updated,
        after=own.after or defaults.after, needs_gpu=bool(wanted and wanted.gpus), asleep=record.asleep,
        settled=record.settled, changed=record.changed_rung, min_awake=own.min_awake or timedelta(0),
        hours=Hours(windows, days_off),
    )  # fmt: skip
