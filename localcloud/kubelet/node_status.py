"""What a node's object says of its machine. Pure."""

import platform
from dataclasses import dataclass
from datetime import datetime

from localcloud.kubelet import devices
from localcloud.kubelet.api import Object
from localcloud.kubelet.container_state import timestamp
from localcloud.kubelet.log_server import PORT

_CONDITIONS = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
}


@dataclass(frozen=True)
class NodeDescription:
    """What the cloud says about a machine: how its node is labelled and tainted, and what it has, GPUs apart."""

    name: str
    labels: dict[str, str]
    taints: list[Object]
    capacity: dict[str, str]
    allocatable: dict[str, str]
    gpus: int
    provider_id: str
    kubernetes_version: str


def node_status(node: NodeDescription, address: str, gpus: int | None, now: datetime) -> Object:
    """A ``NodeStatus``; ``gpus`` as a device plugin has told of them, None where none has."""
    amounts = devices.amounts(node, gpus)
    return {
        "capacity": node.capacity | amounts.get("capacity", {}),
        "allocatable": node.allocatable | amounts.get("allocatable", {}),
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": node.name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
        "nodeInfo": {
            "architecture": "amd64",
            "operatingSystem": "linux",
            "osImage": "Slipway local cloud",
            "kernelVersion": platform.release(),
            "containerRuntimeVersion": "local://processes",
            "kubeletVersion": f"v{node.kubernetes_version}",
            "kubeProxyVersion": f"v{node.kubernetes_version}",
            "machineID": node.name,
            "systemUUID": node.name,
            "bootID": node.name,
        },
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": timestamp(now),
            }
            for kind, (status, reason, message) in _CONDITIONS.items()
        ],
    }
