"""Use cases behind ``/api/models`` and ``/api/cluster``: read what is; wake, sleep, retry and remove by command."""

from dataclasses import dataclass
from typing import Any

from deployer.ports import Clock, Cluster
from deployer.record import ModelRecord
from deployer.removal import Removals
from deployer.retrying import Retries
from deployer.state import State
from deployer.teardown import Teardown
from deployer.views import cluster_view, model_view, summary
from deployer.waking import Waker

_TIMELINES = 3  # the newest versions whose stages are shown
_DECISIONS = 20  # the newest that are shown
BY_COMMAND = "command"


@dataclass(frozen=True)
class Control:
    """What users read and command."""

    state: State
    cluster_resource: Cluster
    waker: Waker
    teardown: Teardown
    removals: Removals
    retries: Retries
    gpu_pool: str
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
        stages = [stage for version in newest for stage in self.state.stages_of(record, version)]
        return model_view(record, stages, self.state.history(record, newest=_DECISIONS))

    def retry(self, name: str) -> dict[str, Any]:
        """Takes up what stands still of a model.

        Raises:
            NotFound: there is none of that name.
            SlipwayError: ``nothing_to_retry``.
        """
        self.retries.retry(name, by=BY_COMMAND)
        return self.model(name)

    def remove(self, name: str, *, uploads: bool) -> dict[str, Any]:
        """Removes a model with all its versions; what is not gone at once is finished by the sweep.

        Raises:
            NotFound: there is none of that name.
        """
        return {"name": name, "removed": self.removals.remove(name, uploads=uploads, by=BY_COMMAND), "uploads": uploads}

    def cluster(self) -> dict[str, Any]:
        """The cluster and what the idle ladder does next."""
        decision = self.teardown.decide()
        return cluster_view(
            self.cluster_resource.state(), self.state.cluster(), decision, pool=self.gpu_pool,
            all_asleep=all(record.asleep for record in self._records() if record.desired is not None),
            now=self.clock(),
        )  # fmt: skip

    def wake(self) -> dict[str, Any]:
        """Wakes all models; the cluster comes up for them."""
        for record in self._records():
            if record.asleep:
                self.waker.wake(record.name, by="command")
        return self.cluster()

    def sleep(self) -> dict[str, Any]:
        """Puts all models to sleep and empties the GPU pool."""
        self.teardown.sleep_all()
        return self.cluster()

    def _records(self) -> list[ModelRecord]:
        found = [record for name in self.state.models() if (record := self.state.find(name)) is not None]
        return [record for record in found if record.removed is None or not record.removed.done]
