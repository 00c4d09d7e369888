"""One pod bound to the node: address, volumes, containers, status, and its end."""

import asyncio
import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from localcloud.kubelet import background, pod_status
from localcloud.kubelet.addresses import AddressPool
from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object
from localcloud.kubelet.container import Container
from localcloud.kubelet.container_state import ContainerRecord, Terminated, Waiting
from localcloud.kubelet.environment import Addresses
from localcloud.kubelet.events import EventRecorder
from localcloud.kubelet.files import Sources
from localcloud.kubelet.images import ImageRegistry
from localcloud.kubelet.mirror import BlobMirrors
from localcloud.kubelet.run import Ending, PodContext
from localcloud.kubelet.settings import KubeletSettings
from localcloud.kubelet.volumes import PodVolumes, VolumeError

_log = logging.getLogger(__name__)
_MOUNT_RETRY_MAX = 10.0
_API_RETRY = 0.5
_CONFIRM_ATTEMPTS = 20
_SIDECAR_POLL = 0.05
_TROUBLE = (aiohttp.ClientError, TimeoutError, KubernetesError, ConnectionError)


@dataclass(frozen=True)
class NodeServices:
    """What the pods of a node share."""

    client: KubernetesClient
    events: EventRecorder
    images: ImageRegistry
    pulled: set[str]
    mirrors: BlobMirrors
    addresses: AddressPool
    settings: KubeletSettings
    folder: Path
    host_address: str


class PodWorker:
    """Runs one pod from its binding to its end. `begin` starts, `end` ends it."""

    def __init__(self, pod: Object, services: NodeServices) -> None:
        metadata = pod["metadata"]
        self.pod = {"apiVersion": "v1", "kind": "Pod", **pod}
        self._services = services
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._folder = services.folder / metadata["uid"]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._address = _address(pod, services.addresses)
        sources = Sources(services.client, self.pod, Addresses(self._address, services.host_address))
        self._volumes = PodVolumes(services.client, services.mirrors, self.pod, sources, self._folder)
        self._stopping = asyncio.Event()
        self._dirty = asyncio.Event()
        self._reported: list[Object] = list(pod.get("status", {}).get("conditions") or [])
        self._started = datetime.now(UTC)
        self._mounted = False
        self._context = PodContext(
            pod=self.pod,
            client=services.client,
            events=services.events,
            images=services.images,
            pulled=services.pulled,
            settings=services.settings,
            volumes=self._volumes,
            address=self._address,
            host_address=services.host_address,
            folder=self._folder,
            changed=self._dirty.set,
        )
        self._policy: str = pod["spec"].get("restartPolicy", "Always")
        first = pod["spec"].get("initContainers") or []
        self._init = [self._container(spec, "initContainerStatuses", waiting="PodInitializing") for spec in first]
        waiting = "PodInitializing" if first else "ContainerCreating"
        self._main = [self._container(spec, "containerStatuses", waiting=waiting) for spec in pod["spec"]["containers"]]
        self.containers = {each.name: each for each in (*self._init, *self._main)}
        self._ending: Ending | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def _container(self, spec: Object, statuses: str, *, waiting: str) -> Container:
        record = _record(spec, self.pod, statuses, waiting, self._started)
        policy = self._policy
        if statuses == "initContainerStatuses":
            policy = spec.get("restartPolicy") or ("Never" if policy == "Never" else "OnFailure")
        return Container(spec, self._context, record, policy)

    def begin(self) -> None:
        """Starts the pod in the background."""
        self._dirty.set()
        name = self.pod["metadata"]["name"]
        self._tasks = [
            background.start(self._run(), f"pod {name}"),
            background.start(self._report(), f"status of pod {name}"),
            background.start(self._refresh(), f"volumes of pod {name}"),
        ]

    async def end(self, grace_seconds: float, *, confirm: bool) -> None:
        """Ends the containers within the grace and frees what the pod held; ``confirm`` has the API remove it.

        Without it, the machine is going, and hooks are not waited for.
        """
        self._ending = Ending(grace_seconds, hooks=confirm)
        self._stopping.set()
        for container in self.containers.values():
            if not container.record.sidecar:
                container.stop(self._ending)
        running, *others = self._tasks
        try:
            await asyncio.wait([running])
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self._volumes.release()
            self._services.addresses.release(self._address)
        if confirm:
            await self._confirm()
        shutil.rmtree(self._folder, ignore_errors=True)

    def hurry(self) -> None:
        """Has containers that are being ended killed: the pod was deleted by force."""
        for container in self.containers.values():
            container.stop(Ending(0.0, hooks=False))

    async def _confirm(self) -> None:
        """Reports the last status and removes the pod; gives up after a while, for the API server may be gone."""
        for _ in range(_CONFIRM_ATTEMPTS):
            try:
                await self._send_status()
                await self._services.client.delete(self._path, uid=self.pod["metadata"]["uid"], grace_seconds=0)
            except _TROUBLE as error:
                _log.info("%s not yet removed: %s", self._path, error)
                await asyncio.sleep(_API_RETRY)
            else:
                return
        _log.warning("%s ended, but the API server could not be told", self._path)

    async def _report(self) -> None:
        """Sends the status whenever it has changed, until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._send_status()
            except _TROUBLE as error:
                _log.info("status of %s not sent: %s", self._path, error)
                self._dirty.set()
                await asyncio.sleep(_API_RETRY)

    async def _send_status(self) -> None:
        status = pod_status.status(
            [container.record for container in self._main],
            init=[container.record for container in self._init],
            restart_policy=self._policy,
            mounted=self._mounted,
            pod_address=self._address,
            host_address=self._services.host_address,
            started=self._started,
            before=self._reported,
            now=datetime.now(UTC),
        )
        try:
            await self._services.client.patch(
                f"{self._path}/status", {"metadata": {"uid": self.pod["metadata"]["uid"]}, "status": status}
            )
        except KubernetesError as error:
            if error.status not in (404, 409):  # gone, or another of the same name: nobody to tell
                raise
        self._reported = status["conditions"]

    async def _refresh(self) -> None:
        """Keeps the files of mounted volumes up to date, until cancelled."""
        while True:
            await asyncio.sleep(self._services.settings.config_refresh)
            if self._mounted:
                try:
                    await self._volumes.refresh()
                except (VolumeError, *_TROUBLE) as error:
                    _log.info("volumes of %s not refreshed: %s", self._path, error)

    async def _run(self) -> None:
        """Mounts, runs the init containers one after the other, then the others at once; sidecars beside them."""
        if not await self._mount():
            return
        sidecars: list[tuple[Container, asyncio.Task[None]]] = []
        try:
            for container in self._init:
                if not container.record.sidecar:
                    await container.run()
                    if not container.succeeded:
                        return
                elif not self._stopping.is_set():
                    task = background.start(container.run(), f"sidecar {container.name}")
                    sidecars.append((container, task))
                    await self._started_up(container)
            if not self._stopping.is_set():
                await asyncio.gather(*(container.run() for container in self._main))
        finally:
            for container, task in reversed(sidecars):
                container.stop(self._ending or Ending(_grace(self.pod)))
                await asyncio.wait([task])

    async def _started_up(self, sidecar: Container) -> None:
        while not (sidecar.record.started or self._stopping.is_set()):  # noqa: ASYNC110  (either may come)
            await asyncio.sleep(_SIDECAR_POLL)

    async def _mount(self) -> bool:
        """Mounts the volumes, trying again for as long as the pod is wanted; False where it no longer is."""
        delay = self._services.settings.mount_retry
        while not self._stopping.is_set():
            try:
                await self._volumes.mount()
            except (VolumeError, *_TROUBLE) as error:
                self._services.events.record(self.pod, "Warning", "FailedMount", str(error))
                try:
                    await asyncio.wait_for(self._stopping.wait(), delay)
                except TimeoutError:
                    delay = min(2 * delay, _MOUNT_RETRY_MAX)
            else:
                self._mounted = True
                self._dirty.set()
                return True
        return False


def _address(pod: Object, pool: AddressPool) -> str:
    """The address the pod had, where it is still free, else a new one."""
    had = pod.get("status", {}).get("podIP")
    return str(had) if had and pool.reserve(had) else pool.allocate()


def _grace(pod: Object) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


def _record(spec: Object, pod: Object, statuses: str, waiting: str, now: datetime) -> ContainerRecord:
    """A container's record; one that ran when the kubelet was killed goes on with its count of restarts."""
    record = ContainerRecord(
        spec["name"],
        spec["image"],
        Waiting(waiting),
        sidecar=spec.get("restartPolicy") == "Always",
        resources=spec.get("resources") or {},
    )
    before = {each["name"]: each for each in pod.get("status", {}).get(statuses) or []}.get(spec["name"])
    if before is None:
        return record
    record.restarts = before.get("restartCount", 0)
    if "running" in before.get("state", {}):
        message = "The container could not be located when the kubelet started"
        identifier = before.get("containerID", "")
        record.last = Terminated(137, "ContainerStatusUnknown", message, now, now, identifier)
    return record
