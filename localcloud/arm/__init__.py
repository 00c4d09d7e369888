"""Azure Resource Manager's part of the AKS stand-in: one managed cluster, its node pools, and their operations.

What the SDK's ``ContainerServiceClient`` and ``ManagedIdentityCredential`` ask for is answered over HTTP (`server`,
`identity`); what may be asked when is decided by pure functions (`decisions`); `ControlPlane` performs it, and an
`Infrastructure` makes the machines follow. Machines, pods and processes are not known here.
"""

from localcloud.arm.control_plane import ControlPlane, Delays, Infrastructure, ProvisioningError
from localcloud.arm.faults import KNOWN, Does, Fault, FaultBook
from localcloud.arm.identity import AKS_SERVER_APPLICATION_ID, Identity
from localcloud.arm.model import Cluster, Operation, Pool
from localcloud.arm.server import ArmServer, KubeconfigSource
from localcloud.arm.store import ClusterStore

__all__ = [
    "AKS_SERVER_APPLICATION_ID",
    "KNOWN",
    "ArmServer",
    "Cluster",
    "ClusterStore",
    "ControlPlane",
    "Delays",
    "Does",
    "Fault",
    "FaultBook",
    "Identity",
    "Infrastructure",
    "KubeconfigSource",
    "Operation",
    "Pool",
    "ProvisioningError",
]
