"""A node's GPUs as Kubernetes knows them: not before a device plugin tells it of them. Pure.

AKS installs the driver and not the plugin, which is a DaemonSet; here, what the plugin's pod would do is done as soon as
such a DaemonSet has the node among those it runs on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from localcloud.kubelet.api import Object
from localcloud.kubernetes.controllers.placement import place

if TYPE_CHECKING:
    from localcloud.kubelet.node_status import NodeDescription

GPU = "nvidia.com/gpu"
_PLUGIN = re.compile(r"(?:.*/)?k8s-device-plugin(?:[:@].*)?")


def served(node: NodeDescription, daemon_sets: Iterable[Object]) -> bool:
    """Whether a device plugin runs on the node: it tolerates its taints and selects its labels."""
    machine = {
        "metadata": {"name": node.name, "labels": node.labels},
        "spec": {"taints": node.taints},
        "status": {"allocatable": {"pods": "1"}},
    }
    for each in daemon_sets:
        template = each["spec"]["template"]["spec"]
        if any(_PLUGIN.fullmatch(container["image"]) for container in template["containers"]):
            # what it asks for is left out: a machine has room for its daemons
            daemon = {**template, "containers": [{"name": "plugin"}], "initContainers": []}
            if place({"spec": daemon}, [machine], []).node is not None:
                return True
    return False


def amounts(node: NodeDescription, gpus: int | None) -> Object:
    """The part of a ``NodeStatus`` that tells of GPUs. Those of a plugin that has gone are there, but not to be had."""
    if gpus is None:
        return {}
    return {"capacity": {GPU: str(node.gpus)}, "allocatable": {GPU: str(gpus)}}
