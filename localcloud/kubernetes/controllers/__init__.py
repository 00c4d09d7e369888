"""The controllers and the scheduler of the cluster, each a task over the store's changes."""

from localcloud.kubernetes.controllers.autoscalers import AutoscalerController
from localcloud.kubernetes.controllers.budgets import BudgetController
from localcloud.kubernetes.controllers.deployments import DeploymentController
from localcloud.kubernetes.controllers.endpoints import EndpointsController
from localcloud.kubernetes.controllers.garbage import GarbageCollector
from localcloud.kubernetes.controllers.inference_services import InferenceServiceController
from localcloud.kubernetes.controllers.jobs import JobController
from localcloud.kubernetes.controllers.load_balancers import LoadBalancerController
from localcloud.kubernetes.controllers.namespaces import NamespaceController
from localcloud.kubernetes.controllers.nodes import NodeController
from localcloud.kubernetes.controllers.replica_sets import ReplicaSetController
from localcloud.kubernetes.controllers.runtime import Controller, Loop
from localcloud.kubernetes.controllers.scheduler import Scheduler
from localcloud.kubernetes.controllers.volumes import VolumeController
from localcloud.kubernetes.kserve import is_installed
from localcloud.kubernetes.registry import Registry

_ALWAYS: tuple[type[Controller], ...] = (
    NamespaceController, NodeController, VolumeController, DeploymentController, ReplicaSetController, JobController,
    Scheduler, EndpointsController, BudgetController, AutoscalerController, GarbageCollector,
)  # fmt: skip


class Controllers:
    """All controllers of one cluster."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._loops: list[Loop] = []

    def start(self, *, balanced: bool) -> None:
        """Starts them; ``balanced`` tells whether Services of type LoadBalancer get an address here."""
        kinds: list[type[Controller]] = [*_ALWAYS, *([LoadBalancerController] if balanced else [])]
        if is_installed():
            kinds.append(InferenceServiceController)
        self._loops = [Loop(kind(self._registry)) for kind in kinds]

    async def stop(self) -> None:
        """Stops them, in reverse order."""
        while self._loops:
            await self._loops.pop().stop()
