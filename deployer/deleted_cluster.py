"""The cluster that the idle ladder deleted: whoever looks at it, or wants something of it, is told so and what to do."""

from dataclasses import dataclass

from deployer.errors import AzureRefused, ClusterDeleted
from deployer.ports import Cluster, ClusterState, OperationKind, OperationState
from deployer.state import State

_NOT_FOUND = "azure_not_found"


@dataclass(frozen=True)
class DeletableCluster:
    """Implements ``Cluster``: ``cluster`` itself, but for what a look at it tells once the ladder has deleted it."""

    cluster: Cluster
    records: State

    def state(self) -> ClusterState:
        """Power, pool size, and whether an operation is under way.

        Raises:
            ClusterDeleted: it is not there, and the ladder deleted it.
        """
        try:
            return self.cluster.state()
        except AzureRefused as refused:
            if refused.code == _NOT_FOUND and self.records.cluster().rung == "deleted":
                raise ClusterDeleted from refused
            raise

    def begin_start(self) -> str:
        """Starts the stopped cluster."""
        return self.cluster.begin_start()

    def begin_stop(self) -> str:
        """Stops the running cluster."""
        return self.cluster.begin_stop()

    def begin_pool(self, count: int, pool: str | None = None) -> str:
        """Sets the node count of a GPU pool."""
        return self.cluster.begin_pool(count, pool)

    def begin_delete(self) -> str:
        """Deletes the stopped cluster."""
        return self.cluster.begin_delete()

    def operation(self, kind: OperationKind, token: str, pool: str | None = None) -> OperationState:
        """Where the operation stands."""
        return self.cluster.operation(kind, token, pool)
