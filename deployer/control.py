"""Use cases behind ``/api/models`` and ``/api/cluster``: read what is; wake, sleep, retry and remove by command."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from deployer import openapi
from deployer.activity import last_requests
from deployer.errors import ClusterDeleted, NotFound
from deployer.ledger import Ledger, stretches
from deployer.names import is_model_name
from deployer.ports import Clock
from deployer.record import ModelRecord, OrderKind
from deployer.removal import Removals
from deployer.retrying import Retries
from deployer.rollback import Rollbacks
from deployer.state import State
from deployer.teardown import Teardown
from deployer.views import cluster_view, model_view, plan_view, summary

_FORESEEN = timedelta(days=7)
_TIMELINES = 3  # the newest versions whose stages are shown
_DECISIONS = 20  # the newest that are shown
BY_COMMAND = "command"


@dataclass(frozen=True)
class Control:
    """What users read and command."""

    state: State
    teardown: Teardown
    ledger: Ledger
    removals: Removals
    retries: Retries
    rollbacks: Rollbacks
    gpu_pool: str
    order_lasts: timedelta
    clock: Clock

    def models(self) -> dict[str, Any]:
        """All models, by name: one listing of the state container, whatever their number."""
        return {"models": [summary(glance) for glance in self.state.glances() if not glance.removed]}

    def model(self, name: str) -> dict[str, Any]:
        """One model, whole.

        Raises:
            NotFound: there is none of that name.
        """
        record = self._record(name)
        newest = [item.version for item in record.versions][-_TIMELINES:]
        stages = [stage for version in newest for stage in self.state.stages_of(record, version)]
        view = model_view(record, stages, self.state.history(record, newest=_DECISIONS))
        last = last_requests(self.teardown.documents).get(name)
        return view | {
            "last_request": last.isoformat() if last else None, "wake": self._wake(record), **openapi.endpoint(record)
        }  # fmt: skip

    def openapi(self, name: str | None = None, *, keyed: bool = False) -> dict[str, Any]:
        """The OpenAPI document of one model (``keyed``: for who has its key), or of all and of what is asked of them.

        That of all is a listing and a read of each record: the schemas stand nowhere else.

        Raises:
            NotFound: there is none of that name.
        """
        return openapi.for_all(self._records()) if name is None else openapi.for_model(self._record(name), keyed=keyed)

    def retry(self, name: str) -> dict[str, Any]:
        """Takes up what stands still of a model.

        Raises:
            NotFound: there is none of that name.
            SlipwayError: ``nothing_to_retry``.
        """
        self.retries.retry(name, by=BY_COMMAND)
        return self.model(name)

    def rollback(self, name: str, version: int | None) -> dict[str, Any]:
        """Goes back to a version, or to the one before.

        Raises:
            NotFound: there is no model of that name, or no such version.
            SlipwayError: ``not_kept``, ``nothing_before``.
        """
        self.rollbacks.back(name, version, by=BY_COMMAND)
        return self.model(name)

    def remove(self, name: str, *, uploads: bool) -> dict[str, Any]:
        """Removes a model with all its versions; what is not gone at once is finished by the sweep.

        Raises:
            NotFound: there is none of that name.
        """
        return {"name": name, "removed": self.removals.remove(name, uploads=uploads, by=BY_COMMAND), "uploads": uploads}

    def cluster(self) -> dict[str, Any]:
        """The cluster and what the idle ladder does next: one listing of the models, and one of what was asked.

        Only the records of models that wake are read whole.
        """
        situation, decision = self.teardown.next()
        record = situation.record
        shown = cluster_view(
            situation.cluster, record, decision, pool=self.gpu_pool,
            all_asleep=all(use.asleep for use in situation.uses), now=self.clock(),
        )  # fmt: skip
        found = [model for name in record.wakes if (model := self.state.find(name)) is not None]
        return shown | {
            "wakes": [
                {"model": model.name, **self.teardown.waker.progress(model, record).view()}
                for model in found
                if not model.settled
            ]
        }

    def order(self, kind: OrderKind, minutes: float | None) -> dict[str, Any]:
        """Wakes all models, or puts all to sleep, or holds all as it is: outranks the policy for so many minutes."""
        lasts = self.order_lasts if minutes is None else timedelta(minutes=minutes)
        self.teardown.order(kind, lasts, by="command")
        return self.cluster()

    def release(self) -> dict[str, Any]:
        """Takes an order back."""
        self.state.change_cluster(lambda record: record.but(order=None))
        return self.cluster()

    def plan(self) -> dict[str, Any]:
        """What the idle ladder would do in the next days if nobody asked anything; what each rung saves and costs."""
        situation, coming = self.teardown.coming(_FORESEEN)
        economy = self.teardown.costs.economy(situation.cluster, situation.record.wake_times)
        return plan_view(situation, coming, economy, self.teardown.costs.guesses, self.clock())

    def sums(self, month: str | None) -> dict[str, Any]:
        """The ledger of a month.

        Raises:
            BadRequest: that is no month.
        """
        with suppress(ClusterDeleted):  # what was, can be read all the same
            self.teardown.look()
        sums, lines = self.ledger.month(month)
        spent = stretches(lines, sums.start, sums.end)
        told = [
            line.model_dump(mode="json") | {name: each.view()[name] for name in ("gpu_hours", "money")}
            for line, each in zip(lines, spent, strict=True)
        ]
        return sums.view() | {"lines": told}

    def _wake(self, record: ModelRecord) -> dict[str, Any] | None:
        """How far the model's wake is, if it wakes."""
        if record.settled or record.route is not None:
            return None
        cluster = self.state.cluster()
        return self.teardown.waker.progress(record, cluster).view() if record.name in cluster.wakes else None

    def _record(self, name: str) -> ModelRecord:
        if not is_model_name(name):
            raise NotFound(
                "unknown_model", f"'{name[:60]}' is no name of a model.", "GET /api/models lists those there are."
            )
        return self.state.model(name)

    def _records(self) -> list[ModelRecord]:
        shown = [glance.name for glance in self.state.glances() if not glance.removed]
        return [record for name in shown if (record := self.state.find(name)) is not None]
