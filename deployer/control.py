"""Use cases behind ``/api/models`` and ``/api/cluster``: read what is, wake and sleep by command."""

from dataclasses import dataclass
from typing import Any

from deployer import openapi
from deployer.activity import last_requests
from deployer.errors import NotFound
from deployer.names import is_model_name
from deployer.ports import Clock, Cluster
from deployer.record import ModelRecord
from deployer.state import State
from deployer.teardown import Teardown
from deployer.views import cluster_view, model_view, summary
from deployer.waking import Waker

_TIMELINES = 3  # the newest versions whose stages are shown


@dataclass(frozen=True)
class Control:
    """What users read and command."""

    state: State
    cluster_resource: Cluster
    waker: Waker
    teardown: Teardown
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
        record = self._record(name)
        newest = [item.version for item in record.versions][-_TIMELINES:]
        view = model_view(record, [stage for version in newest for stage in self.state.timeline(name, version)])
        last = last_requests(self.teardown.documents, name).get(name)
        return view | {"last_request": last.isoformat() if last else None, **openapi.endpoint(record)}

    def openapi(self, name: str | None = None, *, keyed: bool = False) -> dict[str, Any]:
        """The OpenAPI document of one model (``keyed``: for who has its key), or of all and of what is asked of them.

        Raises:
            NotFound: there is none of that name.
        """
        return openapi.for_all(self._records()) if name is None else openapi.for_model(self._record(name), keyed=keyed)

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

    def _record(self, name: str) -> ModelRecord:
        if not is_model_name(name):
            raise NotFound(
                "unknown_model", f"'{name[:60]}' is no name of a model.", "GET /api/models lists those there are."
            )
        return self.state.model(name)

    def _records(self) -> list[ModelRecord]:
        return [record for name in self.state.models() if (record := self.state.find(name)) is not None]
