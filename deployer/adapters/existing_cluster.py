"""Any existing cluster, by its kubeconfig, in the place of AKS: its pods are Slipway's, its nodes and its power are not.

Implements ``Cluster`` without a single call to Azure, and gives access to the Kubernetes API as the kubeconfig says.
"""

from deployer.errors import SlipwayError
from deployer.ports import ClusterState, OperationKind, OperationState


class ExistingCluster:
    """A cluster that always runs and has no pool of ours: rollouts work, and the idle ladder ends at pods."""

    def state(self) -> ClusterState:
        """Running, with nothing to scale."""
        return ClusterState("Running", busy=False, pool_count=None, provisioning="Existing")

    def begin_start(self) -> str:
        """Is never asked for: the cluster is never seen stopped."""
        raise _not_ours()

    def begin_stop(self) -> str:
        """Is never asked for: there is no pool that is empty."""
        raise _not_ours()

    def begin_pool(self, count: int, pool: str | None = None) -> str:
        """Is never asked for: there is no pool."""
        raise _not_ours()

    def begin_delete(self) -> str:
        """Is never asked for: the cluster is never seen stopped."""
        raise _not_ours()

    def operation(self, kind: OperationKind, token: str, pool: str | None = None) -> OperationState:
        """An operation begun on AKS before the settings named this cluster: nothing is known of it, so it has ended."""
        return OperationState(running=False)


def _not_ours() -> SlipwayError:
    return SlipwayError(
        "not_ours", "The cluster of SLIPWAY_CLUSTER__KUBECONFIG is not Slipway's to start, stop, scale or delete.",
        "Scale its nodes by its own means, or use an AKS cluster: SLIPWAY_CLUSTER__NAME without a kubeconfig.",
    )  # fmt: skip
