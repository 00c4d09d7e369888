"""A node's lease, renewed for as long as the node lives: what tells the cluster that it does."""

import asyncio
import logging
from datetime import UTC, datetime

import aiohttp

from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object

_log = logging.getLogger(__name__)
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_SECONDS = 40


class Heartbeat:
    """Renews the lease of one node."""

    def __init__(self, client: KubernetesClient, node: str, period: float) -> None:
        self._client = client
        self._node = node
        self._period = period

    async def run(self) -> None:
        """Renews until cancelled."""
        while True:
            try:
                await self._renew()
            except (aiohttp.ClientError, TimeoutError, KubernetesError, ConnectionError) as error:
                _log.info("lease of %s not renewed: %s", self._node, error)
            await asyncio.sleep(self._period)

    async def _renew(self) -> None:
        renewed = {"renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
        try:
            await self._client.patch(f"{_LEASES}/{self._node}", {"spec": renewed})
        except KubernetesError as error:
            if error.status != 404:
                raise
            await self._client.create(_LEASES, await self._lease(renewed))

    async def _lease(self, renewed: Object) -> Object:
        """A lease that goes with its node."""
        node = await self._client.get(f"/api/v1/nodes/{self._node}")
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node, "uid": node["metadata"]["uid"]}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._node, "namespace": "kube-node-lease", "ownerReferences": [owner]},
            "spec": {"holderIdentity": self._node, "leaseDurationSeconds": _SECONDS, **renewed},
        }
