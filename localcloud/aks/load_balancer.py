"""The part of the cloud controller that gives Services of type LoadBalancer an address."""

import asyncio
import logging

import aiohttp

from localcloud.kubelet import (
    AddressPool,
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

    def __init__(self, client: KubernetesClient, addresses: AddressPool) -> None:
        self._client = client
        self._addresses = addresses
        self._changed = asyncio.Event()
        self._services = Informer(client, "/api/v1/services", lambda _kind, _object: self._changed.set())
        self._events = EventRecorder(client, "service-controller")
        self._given: dict[str, str] = {}

    async def run(self) -> None:
        """Gives and takes addresses."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run())
            group.create_task(self._events.run())
            group.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        await self._services.synced.wait()
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = {uid: s for uid, s in self._services.objects.items() if s["spec"].get("type") == "LoadBalancer"}
            for uid in self._given.keys() - wanted.keys():
                self._addresses.release(self._given.pop(uid))
            for uid, service in wanted.items():
                if uid in self._given and _ingress(service) == self._given[uid]:
                    continue
                try:
                    await self._give(uid, service)
                except (aiohttp.ClientError, TimeoutError, ConnectionError, KubernetesError) as error:
                    _log.info("address of %s not written: %s", service["metadata"]["name"], error)
                    asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._changed.set)
                except LoopbackUnavailableError as error:
                    self._record(service, "Warning", "SyncLoadBalancerFailed", f"Error syncing load balancer: {error}")

    async def _give(self, uid: str, service: Object) -> None:
        has = _ingress(service)
        if uid not in self._given:
            kept = has is not None and self._addresses.reserve(has)
            self._given[uid] = has if kept and has is not None else self._addresses.allocate()
        if has == self._given[uid]:
            return
        metadata = service["metadata"]
        self._record(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        await self._client.patch(
            f"/api/v1/namespaces/{metadata['namespace']}/services/{metadata['name']}/status",
            {"status": {"loadBalancer": {"ingress": [{"ip": self._given[uid]}]}}},
        )
        self._record(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    def _record(self, service: Object, kind: str, reason: str, message: str) -> None:
        about = {"kind": "Service", "apiVersion": "v1", **service}
        self._events.record(about, "Warning" if kind == "Warning" else "Normal", reason, message)


def _ingress(service: Object) -> str | None:
    listed = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or [{}]
    address = listed[0].get("ip")
    return None if address is None else str(address)
