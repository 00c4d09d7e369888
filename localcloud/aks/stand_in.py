"""Composes the stand-in: state, network, ARM, Kubernetes API and kubelets, in this order; ended in the reverse one."""

import contextlib
import socket
from types import TracebackType

from localcloud.aks import device_plugin
from localcloud.aks.files import Keepsakes, write_atomically
from localcloud.aks.infrastructure import LocalInfrastructure, RunningApi
from localcloud.aks.options import Options
from localcloud.aks.service_addresses import ServiceAddresses
from localcloud.arm import ArmServer, Cluster, ClusterStore, ControlPlane, Identity, KubeconfigSource, Pool
from localcloud.arm.model import Mode
from localcloud.kubelet import (
    BlobMirrors,
    ImageRegistry,
    KubernetesClient,
    LoopbackRange,
    busybox,
    slipway_exporter,
    tensorflow_serving,
)
from localcloud.kubelet import device_plugin as plugin_image
from localcloud.kubernetes import KubernetesApi

_HOST = "127.0.0.1"
_LOCATION = "westeurope"
_KUBERNETES_VERSION = "1.36.2"
_SYSTEM_POOL = "system"
_GPU_POOL = "gpu"


class AksStandIn:
    """The running stand-in, as an asynchronous context."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._undo = contextlib.AsyncExitStack()

    async def __aenter__(self) -> "AksStandIn":
        async with contextlib.AsyncExitStack() as undo:
            await self._start(undo)
            self._undo = undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._undo.aclose()

    async def _start(self, undo: contextlib.AsyncExitStack) -> None:
        options, data = self._options, self._options.data
        kept_file = data / "aks.json"
        kept = Keepsakes.load(kept_file)
        network = LoopbackRange.claim(kept.loopback_prefix)
        undo.callback(network.close)
        service_addresses = ServiceAddresses(network.services, data / "service_addresses.json")
        mirrors = await undo.enter_async_context(
            BlobMirrors(options.storage_connection_string, data / "mirrors", poll_seconds=options.mount_cache)
        )
        kubernetes_port = _port(options.kubernetes_port, kept.kubernetes_port)
        kubectl_port = _port(options.kubectl_port, kept.kubectl_port)
        arm_port = _port(options.arm_port, kept.arm_port)
        ports = {"kubernetes_port": kubernetes_port, "kubectl_port": kubectl_port}
        kept = kept.model_copy(update={"loopback_prefix": network.prefix, **ports})
        kept.save(kept_file)

        async def start_api() -> RunningApi:
            return await KubernetesApi.start(
                data / "kubernetes",
                host=_HOST,
                port=kubernetes_port,
                token=kept.kubernetes_token,
                allocate=service_addresses.allocate,
                open_port=kubectl_port,
            )

        async def furnish(client: KubernetesClient) -> None:
            held = Keepsakes.load(kept_file)
            if not held.furnished:
                if options.device_plugin:
                    await device_plugin.install(client)
                held.model_copy(update={"furnished": True}).save(kept_file)

        infrastructure = LocalInfrastructure(
            start_api,
            kubernetes_token=kept.kubernetes_token,
            network=network,
            service_addresses=service_addresses,
            images=ImageRegistry(
                [*options.images, tensorflow_serving(), slipway_exporter(), plugin_image(), busybox()]
            ),
            mirrors=mirrors,
            settings=options.kubelet,
            join_seconds=options.delays.node_join,
            folder=data / "kubelet",
            furnish=furnish,
        )
        control = ControlPlane(
            ClusterStore(data / "cluster.json"), _new_cluster(options, kept), options.delays, options.gpu_max
        )
        identity = Identity(
            header=kept.identity_header, signing_key=kept.signing_key, kubernetes_token=kept.kubernetes_token
        )
        url = f"http://{_HOST}:{kubernetes_port}"
        arm = ArmServer(control, identity, KubeconfigSource(url, kept.kubernetes_token))
        undo.push_async_callback(arm.stop)
        await arm.start(_HOST, arm_port)
        kept = kept.model_copy(update={"arm_port": arm.port})
        kept.save(kept_file)
        undo.push_async_callback(infrastructure.close)
        undo.push_async_callback(control.close)
        await control.run_on(infrastructure)
        undo.callback(options.ready_file.unlink, missing_ok=True)
        cluster = control.cluster
        write_atomically(
            options.ready_file,
            {
                "kubernetes_url": url,
                "kubernetes_token": kept.kubernetes_token,
                "kubectl_url": f"http://{_HOST}:{kubectl_port}",
                "arm_url": arm.url,
                "subscription_id": cluster.subscription_id,
                "resource_group": cluster.resource_group,
                "cluster_name": cluster.name,
                "gpu_pool": _GPU_POOL,
                "system_pool": _SYSTEM_POOL,
                "identity_endpoint": arm.identity_endpoint,
                "identity_header": identity.header,
            },
        )


_OURS = {"slipway": "owned"}  # the idle ladder may take it down


def _new_cluster(options: Options, kept: Keepsakes) -> Cluster:
    system = Pool(
        name=_SYSTEM_POOL, mode=Mode.SYSTEM, vm_size="Standard_D4s_v5", count=1, instances=(0,), next_instance=1
    )
    gpu = Pool(
        name=_GPU_POOL,
        mode=Mode.USER,
        vm_size=options.gpu_size,
        count=options.gpu_nodes,
        instances=tuple(range(options.gpu_nodes)),
        next_instance=options.gpu_nodes,
        node_taints=("sku=gpu:NoSchedule",),
        tags=dict(_OURS),
    )
    return Cluster(
        subscription_id=kept.subscription_id,
        resource_group=options.resource_group,
        name=options.cluster_name,
        location=_LOCATION,
        kubernetes_version=_KUBERNETES_VERSION,
        disable_local_accounts=options.disable_local_accounts,
        entra=options.entra,
        tags=dict(_OURS),
        pools={pool.name: pool for pool in (system, gpu)},
    )


def _port(asked: int, kept: int) -> int:
    """The port asked for, else the one kept from before if it is free, else a free one."""
    if asked:
        return asked
    for candidate in (kept, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((_HOST, candidate))
                return int(probe.getsockname()[1])
    raise OSError(f"no free port on {_HOST}")
