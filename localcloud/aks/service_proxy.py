"""The part of kube-proxy: listens on the addresses of Services and forwards to ready pods.

A port with no ready endpoint is not listened on, so that connecting to it is refused, as kube-proxy rejects it.
"""

import asyncio
import logging
import random

from localcloud.aks.service_addresses import ServiceAddresses
from localcloud.aks.service_routes import Endpoint, routes
from localcloud.kubelet import Informer, KubernetesClient, Object
from localcloud.kubelet.tcp import forward

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class ServiceProxy:
    """Follows Services and EndpointSlices; `run` until cancelled. Tells ``addresses`` which Services there are."""

    def __init__(self, client: KubernetesClient, addresses: ServiceAddresses) -> None:
        self._changed = asyncio.Event()
        self._addresses = addresses
        self._services = Informer(client, "/api/v1/services", self._service_changed)
        self._slices = Informer(
            client, "/apis/discovery.k8s.io/v1/endpointslices", lambda _kind, _object: self._changed.set()
        )
        self._routes: dict[Endpoint, list[Endpoint]] = {}
        self._listening: dict[Endpoint, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Keeps the listening sockets as the Services say; closes them and all connections when cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._services.run())
                group.create_task(self._slices.run())
                group.create_task(self._reconcile())
        finally:
            for server in self._listening.values():
                server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _service_changed(self, kind: str, service: Object) -> None:
        if kind == "DELETED":
            self._addresses.gone(service)
        else:
            self._addresses.seen(service)
        self._changed.set()

    async def _reconcile(self) -> None:
        await self._services.synced.wait()
        self._addresses.all_seen()
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._routes = routes(self._services.objects.values(), self._slices.objects.values())
            for gone in self._listening.keys() - self._routes.keys():
                self._listening.pop(gone).close()
            for new in self._routes.keys() - self._listening.keys():
                await self._listen(new)

    async def _listen(self, at: Endpoint) -> None:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            targets = list(self._routes.get(at, []))
            random.shuffle(targets)
            task = asyncio.ensure_future(forward(reader, writer, targets))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            await asyncio.wait([task])

        try:
            self._listening[at] = await asyncio.start_server(accepted, *at)
        except OSError as error:
            _log.warning("cannot listen on %s:%d, tried again in %s s: %s", *at, _RETRY_SECONDS, error)
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._changed.set)
