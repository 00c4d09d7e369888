"""The agent of one node: registers it, runs the pods bound to it, serves their logs, and drains it at the end."""

import asyncio
import logging
import platform
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from localcloud.kubelet import background
from localcloud.kubelet.addresses import AddressPool, LoopbackUnavailableError
from localcloud.kubelet.api import EventType, Informer, KubernetesClient, KubernetesError, Object
from localcloud.kubelet.container import Container
from localcloud.kubelet.container_state import timestamp
from localcloud.kubelet.events import EventRecorder
from localcloud.kubelet.images import ImageRegistry
from localcloud.kubelet.log_server import PORT, LogServer
from localcloud.kubelet.mirror import BlobMirrors
from localcloud.kubelet.pod import NodeServices, PodWorker
from localcloud.kubelet.settings import KubeletSettings

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.5
_SHUTDOWN_GRACE = 5.0
_DRAIN_EXTRA = 10.0


@dataclass(frozen=True)
class NodeDescription:
    """What the cloud says about a machine: how its node is labelled and tainted, and what it has."""

    name: str
    labels: dict[str, str]
    taints: list[Object]
    capacity: dict[str, str]
    allocatable: dict[str, str]
    provider_id: str
    kubernetes_version: str


class NodeAgent:
    """The kubelet of one node, at an address of its own."""

    def __init__(
        self,
        node: NodeDescription,
        client: KubernetesClient,
        *,
        images: ImageRegistry,
        mirrors: BlobMirrors,
        node_addresses: AddressPool,
        pod_addresses: AddressPool,
        settings: KubeletSettings,
        folder: Path,
    ) -> None:
        self.node = node
        self._client = client
        self._node_addresses = node_addresses
        self._events = EventRecorder(client, "kubelet", node.name)
        self._services = NodeServices(
            client, self._events, images, mirrors, pod_addresses, settings, folder / node.name, host_address=""
        )
        self._workers: dict[str, PodWorker] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._logs = LogServer(self._container)

    async def start(self, join_seconds: float) -> None:
        """Takes an address, and joins the cluster after ``join_seconds``, in the background."""
        address = self._node_addresses.allocate()
        self._services = replace(self._services, host_address=address)
        await self._logs.start(address)
        self._tasks = [
            background.start(self._join(join_seconds), f"kubelet of {self.node.name}"),
            background.start(self._events.run(), f"events of {self.node.name}"),
        ]

    async def drain(self) -> None:
        """Cordons the node, ends its pods as their grace periods allow, and removes it from the cluster."""
        path = f"/api/v1/nodes/{self.node.name}"
        try:
            await self._client.patch(path, {"spec": {"unschedulable": True}})
        except KubernetesError as error:
            if error.status != 404:  # it has not joined yet
                raise
        longest = 0.0
        for worker in list(self._workers.values()):
            metadata = worker.pod["metadata"]
            await self._client.delete(
                f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}", uid=metadata["uid"]
            )
            longest = max(longest, _grace(worker.pod))
        try:
            async with asyncio.timeout(longest + _DRAIN_EXTRA):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("%s: pods still there after %s s; ended without them", self.node.name, longest + _DRAIN_EXTRA)
        await self.close()
        await self._client.delete(path)

    async def close(self) -> None:
        """Ends the containers and the agent; to the API, the node has just fallen silent."""
        joining = self._tasks[:1]
        for task in joining:
            task.cancel()
        await asyncio.gather(*joining, return_exceptions=True)
        await asyncio.gather(*(self._finished(uid, _SHUTDOWN_GRACE, confirm=False) for uid in list(self._workers)))
        await self._events.flush(2.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._logs.stop()
        self._node_addresses.release(self._services.host_address)

    async def _join(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        while True:
            try:
                await self._register()
                break
            except (aiohttp.ClientError, TimeoutError, KubernetesError, ConnectionError) as error:
                _log.info("%s cannot join yet: %s", self.node.name, error)
                await asyncio.sleep(_RETRY_SECONDS)
        pods = Informer(
            self._client, "/api/v1/pods", self._pod_changed, field_selector=f"spec.nodeName={self.node.name}"
        )
        await pods.run()

    async def _register(self) -> None:
        node = self.node
        metadata = {"name": node.name, "labels": node.labels}
        spec = {"taints": node.taints, "providerID": node.provider_id}
        try:
            await self._client.create(
                "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
            )
        except KubernetesError as error:
            if error.status != 409:
                raise
            await self._client.patch(f"/api/v1/nodes/{node.name}", {"spec": {"unschedulable": None}})
        registered = await self._client.patch(f"/api/v1/nodes/{node.name}/status", {"status": self._status()})
        about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "uid": node.name}}
        self._events.record(about, "Normal", "Starting", "Starting kubelet.")
        self._events.record(
            about, "Normal", "NodeReady", f"Node {registered['metadata']['name']} status is now: NodeReady"
        )

    def _status(self) -> Object:
        now = timestamp(datetime.now(UTC))
        healthy = {
            "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
        }
        return {
            "capacity": self.node.capacity,
            "allocatable": self.node.allocatable,
            "addresses": [
                {"type": "InternalIP", "address": self._services.host_address},
                {"type": "Hostname", "address": self.node.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": PORT}},
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "osImage": "Slipway local cloud",
                "kernelVersion": platform.release(),
                "containerRuntimeVersion": "local://processes",
                "kubeletVersion": f"v{self.node.kubernetes_version}",
                "kubeProxyVersion": f"v{self.node.kubernetes_version}",
                "machineID": self.node.name,
                "systemUUID": self.node.name,
                "bootID": self.node.name,
            },
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
                for kind, (status, reason, message) in healthy.items()
            ],
        }

    def _pod_changed(self, kind: EventType, pod: Object) -> None:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        worker = self._workers.get(uid)
        if kind == "DELETED":
            if worker is not None:  # removed without waiting for us
                self._end_soon(uid, self._finished(uid, 0.0, confirm=False))
        elif pod["spec"].get("nodeName") != self.node.name:
            return
        elif "deletionTimestamp" in metadata:
            if worker is not None:
                self._end_soon(uid, self._finished(uid, _deletion_grace(pod), confirm=True))
            elif uid not in self._endings:
                path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
                self._end_soon(uid, self._client.delete(path, uid=uid, grace_seconds=0))
        elif worker is None and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            self._begin(uid, pod)

    def _begin(self, uid: str, pod: Object) -> None:
        try:
            worker = PodWorker(pod, self._services)
        except LoopbackUnavailableError as error:
            about = {"kind": "Pod", **pod}
            self._events.record(about, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            return
        self._workers[uid] = worker
        self._empty.clear()
        worker.begin()

    def _end_soon(self, uid: str, ending: Coroutine[Any, Any, None]) -> None:
        """Ends a pod in the background; the first ending of a pod is the one that counts."""
        if uid in self._endings:
            ending.close()
            return
        task = self._endings[uid] = background.start(ending, f"end of pod {uid}")
        task.add_done_callback(lambda _: self._endings.pop(uid, None))

    async def _finished(self, uid: str, grace: float, *, confirm: bool) -> None:
        worker = self._workers.get(uid)
        if worker is None:
            return
        try:
            await worker.end(grace, confirm=confirm)
        finally:
            self._workers.pop(uid, None)
            if not self._workers:
                self._empty.set()

    def _container(self, namespace: str, pod: str, container: str) -> Container | None:
        for worker in self._workers.values():
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, pod):
                return worker.containers.get(container)
        return None


def _grace(pod: Object) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


def _deletion_grace(pod: Object) -> float:
    given = pod["metadata"].get("deletionGracePeriodSeconds")
    return _grace(pod) if given is None else float(given)
