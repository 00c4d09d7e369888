"""The part of the cloud controller that gives Services of type LoadBalancer an address."""

import asyncio
import logging
from typing import Literal

import aiohttp

from localcloud.aks.service_addresses import ServiceAddresses
from localcloud.aks.service_routes import ingress_address
from localcloud.kubelet import (
    EventRecorder,
    Informer,
    KubernetesClient,
    KubernetesError,
    LoopbackUnavailableError,
    Object,
)

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class LoadBalancerController:
    """Follows Services; `run` until cancelled. An address is the Service's until it goes or changes its type."""

    def __init__(self, client: KubernetesClient, addresses: ServiceAddresses) -> None:
        self._client = client
        self._addresses = addresses
        self._changed = asyncio.Event()
        self._services = Informer(client, "/api/v1/services", self._heard)
        self._events = EventRecorder(client, "service-controller")

    async def run(self) -> None:
        """Gives and takes addresses."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run())
            group.create_task(self._events.run())
            group.create_task(self._reconcile())

    def _heard(self, kind: str, service: Object) -> None:
        if kind == "DELETED":
            self._addresses.gone(service)
        else:
            self._addresses.seen(service)
        self._changed.set()

    async def _reconcile(self) -> None:
        await self._services.synced.wait()
        self._addresses.all_seen()
        while True:
            for service in list(self._services.objects.values()):
                if service["spec"].get("type") == "LoadBalancer" and ingress_address(service) is None:
                    await self._give(service)
            await self._changed.wait()
            self._changed.clear()

    async def _give(self, service: Object) -> None:
        metadata = service["metadata"]
        self._record(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        try:
            address = self._addresses.balancer_address(service)
            await self._client.patch(
                f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}/status",
                {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}},
            )
        except (aiohttp.ClientError, TimeoutError, ConnectionError, KubernetesError, LoopbackUnavailableError) as error:
            _log.warning("no address for %s/%s: %s", metadata["namespace"], metadata["name"], error)
            self._record(service, "Warning", "SyncLoadBalancerFailed", f"Error syncing load balancer: {error}")
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._changed.set)
        else:
            self._record(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    def _record(self, service: Object, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._events.record({"kind": "Service", "apiVersion": "v1", **service}, kind, reason, message)
