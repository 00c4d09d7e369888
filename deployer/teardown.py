"""Use case: take down what is idle, one rung at a time; bring back what its hours call; and do both by command.

The decision is ``plan_idle``'s. It is taken under the cluster's lease, and a model's last use is read again before its pods
go. A model is marked asleep before its pods go, so that a request that comes meanwhile wakes it; a teardown cut short is
finished by the next, which scales down what is marked asleep.

One look costs one listing of the models and a few calls more, whatever their number: it goes by the extracts that the listing
tells (``deployer.glance``). Before anything is done to a model, its record is read and decided on again; before the pool or
the cluster goes, all are listed again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from deployer.activity import gather, last_requests
from deployer.bridging import Bridges
from deployer.economy import Costs
from deployer.errors import CloudRefused, ClusterDeleted, ClusterUnreachable, Conflict
from deployer.forecast import Coming, Situation, forecast
from deployer.glance import Glance, glance_of
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
    lost: Callable[[], Sequence[str]]  # models that were published and have no record

    def decide(self) -> Decision:
        """What would go now, if the timer looked."""
        return self.next()[1]

    def next(self) -> tuple[Situation, Decision]:
        """What is, and what would go now, if the timer looked."""
        now, (situation, _) = self.clock(), self._situation()
        economy = self.costs.economy(situation.cluster, situation.record.wake_times)
        return situation, self._unless_lost(situation.plan(self.policy, economy, now))

    def coming(self, until: timedelta) -> tuple[Situation, tuple[Coming, ...]]:
        """What is, and what would be done in this time if nobody asked anything."""
        now, (situation, _) = self.clock(), self._situation()
        economy = self.costs.economy(situation.cluster, situation.record.wake_times)
        return situation, forecast(
            situation, self.policy, economy, now, gpu_nodes=self.costs.gpu_nodes, until=now + until
        )

    def run(self) -> Decision | None:
        """Decides and performs; None where another instance is at it, or the cluster was deleted."""
        with self.documents.lease("cluster") as held:
            self.documents.put(HEARTBEAT, b"")
            if not held:
                return None
            gather(self.documents, self.clock())
            try:
                (situation, models), now = self._situation(), self.clock()
            except ClusterDeleted as deleted:
                log.info("idle: %s", deleted.message)
                return None
            economy = self.costs.economy(situation.cluster, situation.record.wake_times)
            brought_back = self._bring_back(situation, models)
            decision = self._unless_lost(
                plan_idle(situation.uses, situation.cluster, situation.record, self.policy, economy, now)
            )
            self.state.change_cluster(lambda before: before.but(looked=now))
            log.info("idle: %s", decision)
            held.check()
            with span("teardown", {"decision": type(decision).__name__}):
                if isinstance(decision, EmptyPool | Stay | Withheld):
                    self._finish_sleep(models, situation)
                self._perform(decision)
            if brought_back or not isinstance(decision, Stay | Withheld):
                models = self._models()
            self.ledger.look(self.cluster.state(), self.state.cluster(), models)
        self.bridges.run(models)  # outside: they are proven by slow answers, and wakes need the lease
        return decision

    def _unless_lost(self, decision: Decision) -> Decision:
        """Takes nothing from under models that may be running while nothing is remembered of them."""
        if not isinstance(decision, EmptyPool | StopCluster | DeleteCluster) or not (lost := self.lost()):
            return decision
        names = ", ".join(lost[:5]) + (", …" if len(lost) > 5 else "")
        return Stay(
            f"the records of {names} are lost, and they may be running: 'slipway doctor --repair' makes them anew"
        )

    def look(self) -> None:
        """Writes into the ledger what runs now, if it is something else than it says."""
        self.ledger.look(self.cluster.state(), self.state.cluster(), self._models())

    def order(self, kind: OrderKind, lasts: timedelta, *, by: str) -> None:
        """What somebody commands outranks the policy for this time. Sleep and wake are also done, at once.

        Raises:
            Conflict: ``busy``, another instance is at the ladder.
            ClusterDeleted: there is nothing to command; one that was made anew is seen as such.
        """
        self._situation()
        now = self.clock()
        order = Order(kind=kind, until=now + lasts, by=by, at=now)
        match kind:
            case "sleep":
                self._sleep_all(order, by)
            case "wake":
                self.state.change_cluster(lambda before: before.but(order=order))
                for model in self._models():
                    if model.asleep:
                        self.waker.wake(model.name, by=by, why="a command")
            case "hold":
                self.state.change_cluster(lambda before: before.but(order=order))
        self.look()

    def _sleep_all(self, order: Order, by: str) -> None:
        """Puts all models to sleep and empties the GPU pool, now.

        A model whose next version is on its way stays, and with it the pool.

        Raises:
            Conflict: ``busy``: the idle timer is at it, or another such command.
        """
        with self.documents.lease("cluster") as held:
            if not held:
                raise Conflict("busy", "Another instance is taking compute down or up.", "Try again in a moment.")
            self.state.change_cluster(lambda before: before.but(order=order))
            settle_operation(self.state, self.cluster, self.clock)
            awake = tuple(model.name for model in self._models() if model.desired is not None and not model.asleep)
            self._sleep(awake, by=by, why="a command", recheck=False)
            still_needed = any(model.gpus > 0 and not model.asleep for model in self._models())
            state = self.cluster.state()
            ours = state.pool_owned and state.pool_mode == "User"
            if ours and not still_needed and state.power == "Running" and not state.busy and state.pool_count:
                self._empty_pool(by=by, why="a command")

    def _situation(self) -> tuple[Situation, tuple[Glance, ...]]:
        settle_operation(self.state, self.cluster, self.clock)
        now, state, models = self.clock(), self.cluster.state(), self._models()
        requests = last_requests(self.documents)
        uses = tuple(_use(model, self.defaults, requests) for model in models if model.desired is not None)
        record = self.state.change_cluster(lambda before: Situation(uses, state, before).noted(now).record)
        return Situation(uses, state, record), models

    def _models(self) -> tuple[Glance, ...]:
        """All models. A record that cannot be read ends the look: it may be of a model that serves."""
        return tuple(self.state.glances(strict=True))

    def _needed(self, decision: Decision) -> bool:
        """Whether a model has been woken that needs what would go, or a conversion begun, since the decision."""
        if isinstance(decision, StopCluster) and self.state.cluster().exporting(self.clock()):
            return True
        awake = [model for model in self._models() if model.desired is not None and not model.asleep]
        return any(model.gpus > 0 for model in awake) if isinstance(decision, EmptyPool) else bool(awake)

    def _bring_back(self, situation: Situation, models: Iterable[Glance]) -> bool:
        """Brings back what is to serve and whose nodes have gone all the same: nothing else would look at it again."""
        state, record = situation.cluster, situation.record
        if state.busy or record.operation is not None:
            return False

        def stranded(model: Glance) -> bool:
            gone = state.power == "Stopped" or (model.gpus > 0 and state.pool_count == 0)
            return gone and model.route is not None and model.desired is not None and not model.asleep and model.settled

        found = False
        for model in filter(stranded, models):
            now = self.state.find(model.name)
            if now is not None and stranded(glance_of(now)):
                log.warning("idle: '%s' is to serve, and its nodes have gone; they come back", model.name)
                self.waker.bring_back(model.name)
                found = True
        return found

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
            case Stay():
                pass

    def _sleep(self, models: tuple[str, ...], *, by: str, why: str, recheck: bool) -> None:
        now = self.clock()
        requests = last_requests(self.documents) if recheck else {}

        def asleep(record: ModelRecord) -> ModelRecord:
            use = _use(glance_of(record), self.defaults, requests)
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
                self._scale_down(record.name)

    def _caused(self, by: str, why: str) -> None:
        cause = Cause(by=by, why=why, at=self.clock())
        self.state.change_cluster(lambda before: before.but(cause=cause))

    def _finish_sleep(self, models: Iterable[Glance], situation: Situation) -> None:
        """Scales down what was marked asleep by a teardown that was cut short."""
        if situation.cluster.power == "Stopped":
            return
        now = self.clock()
        for model in models:
            if model.asleep and model.changed is not None and now - model.changed < _UNFINISHED:
                try:
                    self._scale_down(model.name, recheck=True)
                except (CloudRefused, ClusterUnreachable) as error:  # of no concern to the pool, which Azure takes away
                    log.warning("idle: '%s' is not scaled down yet: %s", model.name, error.message)

    def _scale_down(self, model: str, *, recheck: bool = False) -> None:
        """Scales all of a model's versions to 0; with ``recheck``, if its record says still that it is asleep."""
        up = [work.version for work in self.workloads.of(model) if work.replicas > 0]
        if up and recheck:
            record = self.state.find(model)
            up = up if record is not None and record.asleep else []
        for version in up:
            self.workloads.scale(model, version, 0)

    def _empty_pool(self, *, by: str, why: str) -> None:
        self._caused(by, why)
        now = self.clock()
        with refusals_noted(self.state, self.clock):
            token = self.cluster.begin_pool(0)
        operation = Operation(kind="pool", started=now, token=token, target=0, by="idle")
        self.state.change_cluster(lambda before: before.but(operation=operation, rung="pool", slept=now, failure=None))


def _use(model: Glance, defaults: IdleDefaults, requests: Mapping[str, datetime]) -> ModelUse:
    own = model.idle
    windows = defaults.windows if own.keep_awake is None else own.keep_awake
    days_off = defaults.days_off if own.days_off is None else frozenset(own.days_off)
    return ModelUse(
        model=model.name, used=max(model.used, requests.get(model.name, model.used)), after=own.after or defaults.after,
        needs_gpu=model.gpus > 0, asleep=model.asleep, settled=model.settled, changed=model.changed,
        min_awake=own.min_awake or timedelta(0), hours=Hours(windows, days_off),
    )  # fmt: skip
