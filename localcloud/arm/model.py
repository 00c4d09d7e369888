"""The managed cluster as ARM knows it: frozen values that are stored as JSON."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class OperationKind(StrEnum):
    """What a long-running operation does; the value is the ``provisioningState`` shown meanwhile."""

    START = "Starting"
    STOP = "Stopping"
    CREATE_POOL = "Creating"
    SCALE_POOL = "Scaling"
    UPDATE = "Updating"
    DELETE = "Deleting"
    ABORT = "Canceling"


class OperationStatus(StrEnum):
    """The states of an operation that the SDK's pollers know."""

    IN_PROGRESS = "InProgress"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"


class Power(StrEnum):
    """``powerState.code``."""

    RUNNING = "Running"
    STOPPED = "Stopped"


class Mode(StrEnum):
    """System pools run the cluster's own pods and never go to 0; User pools may."""

    SYSTEM = "System"
    USER = "User"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(_Value):
    """Why an operation failed."""

    code: str
    message: str


class Operation(_Value):
    """A long-running operation on a pool, or without one on the cluster; ``due`` is when its effect takes place (UTC)."""

    id: str
    kind: OperationKind
    pool: str | None = None
    started: datetime
    due: datetime
    ended: datetime | None = None
    status: OperationStatus = OperationStatus.IN_PROGRESS
    error: Failure | None = None
    will_fail: Failure | None = None  # a fault that waits for its time


class Pool(_Value):
    """A node pool. ``count`` is what was asked for; ``instances`` are the numbers of the machines there are."""

    name: str
    mode: Mode
    vm_size: str
    count: int
    instances: tuple[int, ...] = ()
    next_instance: int = 0
    power: Power = Power.RUNNING
    provisioning_state: str = "Succeeded"
    revision: int = 1
    node_labels: dict[str, str] = Field(default_factory=dict)
    node_taints: tuple[str, ...] = ()
    enable_auto_scaling: bool = False
    min_count: int | None = None
    max_count: int | None = None
    scale_set_priority: str = "Regular"
    tags: dict[str, str] = Field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes with each write that ARM accepts."""
        return f"{self.revision:08d}"


class Cluster(_Value):
    """The one managed cluster and its operations, newest last."""

    subscription_id: str
    resource_group: str
    name: str
    location: str
    kubernetes_version: str
    disable_local_accounts: bool = False
    entra: bool = True  # sign-in by Entra; without it the user credentials hold a token of their own
    exists: bool = True  # until it has been deleted
    tags: dict[str, str] = Field(default_factory=dict)
    power: Power = Power.RUNNING
    provisioning_state: str = "Succeeded"
    pools: dict[str, Pool]
    operations: tuple[Operation, ...] = ()

    @property
    def id(self) -> str:
        """The resource id."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.ContainerService/managedClusters/{self.name}"
        )

    @property
    def running_operation(self) -> Operation | None:
        """The operation under way, if any; there is at most one."""
        return next((each for each in self.operations if each.status is OperationStatus.IN_PROGRESS), None)

    def operation(self, identifier: str) -> Operation | None:
        """An operation by its id."""
        return next((each for each in self.operations if each.id == identifier), None)

    def with_pool(self, pool: Pool) -> "Cluster":
        """This cluster with ``pool`` added or replaced."""
        return self.model_copy(update={"pools": {**self.pools, pool.name: pool}})

    def without_pool(self, name: str) -> "Cluster":
        """This cluster without the pool ``name``."""
        return self.model_copy(update={"pools": {key: pool for key, pool in self.pools.items() if key != name}})

    def with_operation(self, operation: Operation) -> "Cluster":
        """This cluster with ``operation`` added or replaced; the hundred newest are kept."""
        others = [each for each in self.operations if each.id != operation.id]
        return self.model_copy(update={"operations": (*others, operation)[-100:]})
