"""The agent of one node: registers it, runs the pods bound to it, serves their logs, and drains it at the end."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from localcloud.kubelet import background, devices
from localcloud.kubelet.addresses import AddressPool, LoopbackUnavailableError
from localcloud.kubelet.api import EventType, Informer, KubernetesClient, KubernetesError, Object
from localcloud.kubelet.container import Container
from localcloud.kubelet.events import EventRecorder
from localcloud.kubelet.heartbeat import Heartbeat
from localcloud.kubelet.images import ImageRegistry
from localcloud.kubelet.log_server import LogServer
from localcloud.kubelet.mirror import BlobMirrors
from localcloud.kubelet.node_status import NodeDescription, node_status
from localcloud.kubelet.pod import NodeServices, PodWorker
from localcloud.kubelet.settings import KubeletSettings

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 0.5
_SHUTDOWN_GRACE = 5.0
_DRAIN_EXTRA = 10.0
_LIST_SECONDS = 10.0
_TROUBLE = (aiohttp.ClientError, TimeoutError, KubernetesError, ConnectionError)


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
            client, self._events, images, set(), mirrors, pod_addresses, settings, folder / node.name, host_address=""
        )
        self._gpus: int | None = None
        self._workers: dict[str, PodWorker] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._logs = LogServer(self._container)
        self._plugins = Informer(client, "/apis/apps/v1/daemonsets", lambda *_: self._devices_changed.set())
        self._devices_changed = asyncio.Event()

    async def start(self, join_seconds: float) -> None:
        """Takes an address, and joins the cluster after ``join_seconds``, in the background."""
        address = self._node_addresses.allocate()
        self._services = replace(self._services, host_address=address)
        await self._logs.start(address)
        self._tasks = [
            background.start(self._join(join_seconds), f"kubelet of {self.node.name}"),
            background.start(self._events.run(), f"events of {self.node.name}"),
        ]
        if self.node.gpus:
            self._tasks.append(background.start(self._plugins.run(), f"device plugins of {self.node.name}"))

    async def describe(self, node: NodeDescription) -> None:
        """Takes what its pool has changed over to the node: labels and taints."""
        if node == self.node:
            return
        before, self.node = self.node, node
        path = f"/api/v1/nodes/{node.name}"
        try:
            held = await self._client.get(path)
        except KubernetesError as error:
            if error.status != 404:  # else it joins with them
                raise
            return
        labels: dict[str, str | None] = {**dict.fromkeys(before.labels.keys() - node.labels.keys()), **node.labels}
        others = [taint for taint in held["spec"].get("taints") or [] if taint not in before.taints]
        changes = {"metadata": {"labels": labels}, "spec": {"taints": [*others, *node.taints]}}
        await self._client.patch(path, changes)
        self._devices_changed.set()

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
            except _TROUBLE as error:
                _log.info("%s cannot join yet: %s", self.node.name, error)
                await asyncio.sleep(_RETRY_SECONDS)
        self._tasks.append(background.start(self._follow_devices(), f"devices of {self.node.name}"))
        heartbeat = Heartbeat(self._client, self.node.name, self._services.settings.heartbeat)
        self._tasks.append(background.start(heartbeat.run(), f"heartbeat of {self.node.name}"))
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
        if node.gpus:
            await asyncio.wait_for(self._plugins.synced.wait(), _LIST_SECONDS)
        self._devices_changed.clear()
        self._gpus = self._served_gpus()
        status = node_status(node, self._services.host_address, self._gpus, datetime.now(UTC))
        registered = await self._client.patch(f"/api/v1/nodes/{node.name}/status", {"status": status})
        about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "uid": node.name}}
        self._events.record(about, "Normal", "Starting", "Starting kubelet.")
        self._events.record(
            about, "Normal", "NodeReady", f"Node {registered['metadata']['name']} status is now: NodeReady"
        )

    def _served_gpus(self) -> int | None:
        """The GPUs that Kubernetes may know of; None where no device plugin has ever told it of any."""
        if self.node.gpus and devices.served(self.node, self._plugins.objects.values()):
            return self.node.gpus
        return None if self._gpus is None else 0

    async def _follow_devices(self) -> None:
        """Tells of the GPUs once a device plugin is there, and that there are none to use when it has gone."""
        while True:
            await self._devices_changed.wait()
            self._devices_changed.clear()
            served = self._served_gpus()
            if served == self._gpus:
                continue
            try:
                amounts = devices.amounts(self.node, served)
                await self._client.patch(f"/api/v1/nodes/{self.node.name}/status", {"status": amounts})
                self._gpus = served
            except _TROUBLE as error:
                _log.info("devices of %s not reported, tried again: %s", self.node.name, error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._devices_changed.set()

    def _pod_changed(self, kind: EventType, pod: Object) -> None:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        worker = self._workers.get(uid)
        if kind == "DELETED":
            if worker is not None:  # removed without waiting for us
                worker.hurry()
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
