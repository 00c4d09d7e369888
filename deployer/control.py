"""Use cases behind ``/api/models`` and ``/api/cluster``: read what is, wake and sleep by command."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from deployer.ledger import Ledger
from deployer.ports import Clock, Cluster
from deployer.record import ModelRecord, OrderKind
from deployer.state import State
from deployer.teardown import Teardown
from deployer.views import cluster_view, model_view, plan_view, summary

_FORESEEN = timedelta(days=7)
_TIMELINES = 3  # the newest versions whose stages are shown


@dataclass(frozen=True)
class Control:
    """What users read and command."""

    state: State
    cluster_resource: Cluster
    teardown: Teardown
    ledger: Ledger
    gpu_pool: str
    order_lasts: timedelta
    clock: Clock

    def models(self) -> dict[str, Any]:
        """All models, by name."""
        return {"models": [summary(record) for record in self._records()]}

    def model(self, name: str) -> dict[str, Any]:
        """One model, whole.

        Raises:
            NotFound: there is none of that name.
        """
        record = self.state.model(name)
        newest = [item.version for item in record.versions][-_TIMELINES:]
        return model_view(record, [stage for version in newest for stage in self.state.timeline(name, version)])

    def cluster(self) -> dict[str, Any]:
        """The cluster and what the idle ladder does next."""
        decision = self.teardown.decide()
        return cluster_view(
            self.cluster_resource.state(), self.state.cluster(), decision, pool=self.gpu_pool,
            all_asleep=all(record.asleep for record in self._records() if record.desired is not None),
            now=self.clock(),
        )  # fmt: skip

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
        return plan_view(situation, coming, economy, self.clock())

    def sums(self, month: str | None) -> dict[str, Any]:
        """The ledger of a month.

        Raises:
            BadRequest: that is no month.
        """
        self.teardown.look()
        sums, lines = self.ledger.month(month)
        return sums.view() | {"lines": [line.model_dump(mode="json") for line in lines]}

    def _records(self) -> list[ModelRecord]:
        return [record for name in self.state.models() if (record := self.state.find(name)) is not None]
