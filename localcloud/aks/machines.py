"""From the node pools to the nodes there should be, named and labelled as AKS does. Pure."""

import string
import zlib

from localcloud.arm import Cluster, Pool
from localcloud.arm.model import Power
from localcloud.arm.sizes import MachineSize, named
from localcloud.kubelet import NodeDescription, Object

_DIGITS = string.digits + string.ascii_lowercase


def nodes(cluster: Cluster) -> dict[str, NodeDescription]:
    """The nodes of a running cluster by name; none while it is stopped."""
    if cluster.power is Power.STOPPED:
        return {}
    described = [_node(cluster, pool, number) for pool in cluster.pools.values() for number in pool.instances]
    return {node.name: node for node in described}


def _node(cluster: Cluster, pool: Pool, number: int) -> NodeDescription:
    size = named(pool.vm_size) or MachineSize(2, 8)
    scale_set = f"aks-{pool.name}-{zlib.crc32(cluster.id.lower().encode()) % 10**8:08d}-vmss"
    name = f"{scale_set}{_base36(number)}"
    group = f"MC_{cluster.resource_group}_{cluster.name}_{cluster.location}"
    return NodeDescription(
        name=name,
        labels=_labels(cluster, pool, size, name),
        taints=[_taint(text) for text in _taints(pool)],
        capacity=_resources(size.cores * 1000, size.memory_gib * 1024),
        allocatable=_resources(size.cores * 1000 - 140, int(size.memory_gib * 1024 * 0.9) - 100),
        gpus=size.gpus,
        provider_id=f"azure:///subscriptions/{cluster.subscription_id}/resourceGroups/{group}"
        f"/providers/Microsoft.Compute/virtualMachineScaleSets/{scale_set}/virtualMachines/{number}",
        kubernetes_version=cluster.kubernetes_version,
    )


def _labels(cluster: Cluster, pool: Pool, size: MachineSize, name: str) -> dict[str, str]:
    labels = {
        "agentpool": pool.name,
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": pool.vm_size,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.azure.com/agentpool": pool.name,
        "kubernetes.azure.com/cluster": f"MC_{cluster.resource_group}_{cluster.name}_{cluster.location}",
        "kubernetes.azure.com/mode": pool.mode.value.lower(),
        "kubernetes.azure.com/nodepool-type": "VirtualMachineScaleSets",
        "kubernetes.azure.com/os-sku": "Ubuntu",
        "kubernetes.azure.com/role": "agent",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/role": "agent",
        "node-role.kubernetes.io/agent": "",
        "node.kubernetes.io/instance-type": pool.vm_size,
        "topology.kubernetes.io/region": cluster.location,
        "topology.kubernetes.io/zone": "0",
    }
    if size.gpus:
        labels |= {"accelerator": "nvidia", "kubernetes.azure.com/accelerator": "nvidia"}
    if pool.scale_set_priority == "Spot":
        labels["kubernetes.azure.com/scalesetpriority"] = "spot"
    return labels | pool.node_labels


def _taints(pool: Pool) -> list[str]:
    spot = ["kubernetes.azure.com/scalesetpriority=spot:NoSchedule"] if pool.scale_set_priority == "Spot" else []
    return [*pool.node_taints, *spot]


def _taint(text: str) -> Object:
    """``key=value:Effect`` as a taint; the value may be missing."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def _resources(millicores: int, mebibytes: int) -> dict[str, str]:
    cpu = str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"
    return {"cpu": cpu, "memory": f"{mebibytes * 1024}Ki", "ephemeral-storage": "129886128Ki", "pods": "110"}


def _base36(number: int) -> str:
    """Six digits of base 36, as scale sets number their machines."""
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
