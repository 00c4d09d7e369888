"""The kubelet of the AKS stand-in: runs the containers of the pods bound to a node as local processes.

A `NodeAgent` registers its node, watches the pods bound to it and gives each a `PodWorker`; that mounts volumes, runs
a `Container` per container, and reports status. All talk to the Kubernetes API goes through `KubernetesClient`, as a
real kubelet's does. Programs come from an `ImageRegistry`; there is no isolation: paths are mapped, addresses are
loopback's.
"""

from localcloud.kubelet.addresses import AddressPool, LoopbackRange, LoopbackUnavailableError
from localcloud.kubelet.api import Informer, KubernetesClient, KubernetesError, Object
from localcloud.kubelet.events import EventRecorder
from localcloud.kubelet.images import Image, ImageRegistry, busybox, device_plugin, slipway_exporter, tensorflow_serving
from localcloud.kubelet.mirror import BlobMirrors
from localcloud.kubelet.node import NodeAgent
from localcloud.kubelet.node_status import NodeDescription
from localcloud.kubelet.settings import KubeletSettings

__all__ = [
    "AddressPool",
    "BlobMirrors",
    "EventRecorder",
    "Image",
    "ImageRegistry",
    "Informer",
    "KubeletSettings",
    "KubernetesClient",
    "KubernetesError",
    "LoopbackRange",
    "LoopbackUnavailableError",
    "NodeAgent",
    "NodeDescription",
    "Object",
    "busybox",
    "device_plugin",
    "slipway_exporter",
    "tensorflow_serving",
]
