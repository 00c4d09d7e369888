"""Makes the local machine match the managed cluster: the Kubernetes API up or down, a kubelet for each machine."""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import aiohttp

from localcloud.aks.machines import nodes
from localcloud.aks.service_addresses import ServiceAddresses
from localcloud.aks.service_proxy import ServiceProxy
from localcloud.arm import Cluster, ProvisioningError
from localcloud.arm.model import Power
from localcloud.kubelet import (
    BlobMirrors,
    ImageRegistry,
    KubeletSettings,
    KubernetesClient,
    KubernetesError,
    LoopbackRange,
    LoopbackUnavailableError,
    NodeAgent,
    background,
    leftovers,
)

_log = logging.getLogger(__name__)


class RunningApi(Protocol):
    """A Kubernetes API that listens."""

    @property
    def url(self) -> str:
        """Where it listens."""

    async def stop(self) -> None:
        """Stops listening; its state is kept."""


class LocalInfrastructure:
    """The cluster's machines and control plane on this machine."""

    def __init__(
        self,
        start_api: Callable[[], Awaitable[RunningApi]],
        *,
        kubernetes_token: str,
        network: LoopbackRange,
        service_addresses: ServiceAddresses,
        images: ImageRegistry,
        mirrors: BlobMirrors,
        settings: KubeletSettings,
        join_seconds: float,
        folder: Path,
        furnish: Callable[[KubernetesClient], Awaitable[None]],
    ) -> None:
        self._start_api = start_api
        self._token = kubernetes_token
        self._network = network
        self._service_addresses = service_addresses
        self._images = images
        self._mirrors = mirrors
        self._settings = settings
        self._join_seconds = join_seconds
        self._folder = folder
        self._furnish = furnish
        self._api: RunningApi | None = None
        self._client: KubernetesClient | None = None
        self._proxy: asyncio.Task[None] | None = None
        self._agents: dict[str, NodeAgent] = {}
        self._resuming = True
        leftovers.end(folder)
        shutil.rmtree(folder, ignore_errors=True)  # of pods that an earlier process ran

    async def converge(self, cluster: Cluster) -> None:
        """Starts or stops what differs. Raises `ProvisioningError`."""
        wanted = nodes(cluster)
        try:
            if cluster.power is Power.RUNNING:
                client = await self._up()
                await self._remove_strangers(client, set(wanted))
            await asyncio.gather(*(self._remove(name) for name in self._agents.keys() - wanted.keys()))
            if cluster.power is Power.STOPPED:
                await self._down()
            for name in wanted.keys() & self._agents.keys():
                await self._agents[name].describe(wanted[name])
            for name in wanted.keys() - self._agents.keys():
                agent = NodeAgent(
                    wanted[name],
                    client,
                    images=self._images,
                    mirrors=self._mirrors,
                    node_addresses=self._network.nodes,
                    pod_addresses=self._network.pods,
                    settings=self._settings,
                    folder=self._folder,
                )
                await agent.start(0.0 if self._resuming else self._join_seconds)
                self._agents[name] = agent
        except (aiohttp.ClientError, TimeoutError, OSError, KubernetesError, LoopbackUnavailableError) as error:
            _log.exception("the cluster does not become what it should be")
            raise ProvisioningError("InternalOperationError", f"The local machine could not follow: {error}") from error
        self._resuming = False

    async def close(self) -> None:
        """Ends everything; to a later process it looks as if the machines had lost power."""
        await asyncio.gather(*(agent.close() for agent in self._agents.values()))
        self._agents.clear()
        await self._down()

    async def _up(self) -> KubernetesClient:
        if self._client is None or self._api is None:
            self._api = await self._start_api()
            self._client = KubernetesClient(self._api.url, self._token, user_agent="kubelet")
            proxy = ServiceProxy(self._client, self._service_addresses)
            self._proxy = background.start(proxy.run(), "service proxy")
            await self._furnish(self._client)
        return self._client

    async def _down(self) -> None:
        if self._proxy is not None:
            self._proxy.cancel()
            await asyncio.gather(self._proxy, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        if self._api is not None:
            await self._api.stop()
        self._client = self._api = None

    async def _remove(self, name: str) -> None:
        await self._agents[name].drain()
        del self._agents[name]

    async def _remove_strangers(self, client: KubernetesClient, wanted: set[str]) -> None:
        """Removes nodes that no machine stands behind: their machines went while nobody was looking."""
        listed = await client.get("/api/v1/nodes")
        for node in listed["items"]:
            name = node["metadata"]["name"]
            if name not in wanted and name not in self._agents:
                pods = await client.get("/api/v1/pods", {"fieldSelector": f"spec.nodeName={name}"})
                for pod in pods["items"]:
                    metadata = pod["metadata"]
                    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
                    await client.delete(path, uid=metadata["uid"], grace_seconds=0)
                await client.delete(f"/api/v1/nodes/{name}")
