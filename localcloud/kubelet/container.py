"""One container of a pod: pulled, started, probed, restarted with back-off, and ended with grace."""

import asyncio
import contextlib
import logging
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from localcloud import process
from localcloud.kubelet import commands, environment, tcp
from localcloud.kubelet.api import KubernetesClient, Object
from localcloud.kubelet.commands import CommandError, PortForward
from localcloud.kubelet.container_state import (
    BackOff,
    ContainerRecord,
    Running,
    Terminated,
    Waiting,
    exit_code,
    restarts,
)
from localcloud.kubelet.events import EventRecorder
from localcloud.kubelet.health import Health
from localcloud.kubelet.images import Image, ImageRegistry
from localcloud.kubelet.logs import ContainerLogs
from localcloud.kubelet.probes import Target
from localcloud.kubelet.settings import KubeletSettings
from localcloud.kubelet.volumes import PodVolumes, VolumeError

_log = logging.getLogger(__name__)
_HEALTHY_SECONDS = 600.0  # a run this long makes the back-off start anew
_LEAST_GRACE = 2.0  # after a preStop hook that took all of the grace period


@dataclass(frozen=True)
class PodContext:
    """What a container needs of its pod."""

    pod: Object
    client: KubernetesClient
    events: EventRecorder
    images: ImageRegistry
    settings: KubeletSettings
    volumes: PodVolumes
    address: str
    folder: Path
    changed: Callable[[], None]


@dataclass(frozen=True)
class _Started:
    child: asyncio.subprocess.Process
    health: Health
    since: datetime
    identifier: str
    forwarders: list[asyncio.Server]


class Container:
    """Runs one container until its pod's restart policy is content, or `stop` is called."""

    def __init__(self, spec: Object, context: PodContext, record: ContainerRecord) -> None:
        self._spec = spec
        self._context = context
        self.record = record
        self.logs = ContainerLogs(context.folder / "logs" / spec["name"])
        self._stopping = asyncio.Event()
        self._grace = 30.0
        self._hooks = True
        self._policy = context.pod["spec"].get("restartPolicy", "Always")

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return isinstance(self.record.state, Running)

    def stop(self, grace_seconds: float, *, hooks: bool) -> None:
        """Asks for the end: preStop (with ``hooks``), SIGTERM, and SIGKILL when the grace is over; then `run` returns."""
        self._grace = grace_seconds
        self._hooks = hooks
        self._stopping.set()

    async def run(self) -> None:
        """Runs the container to its end. Cancelling kills the process."""
        settings = self._context.settings
        pulls = BackOff(settings.back_off_base, settings.back_off_max, attempts=1)
        crashes = BackOff(settings.back_off_base, settings.back_off_max)
        while not self._stopping.is_set():
            image = self._context.images.find(self._spec["image"])
            if image is None:
                await self._not_pulled(pulls)
                continue
            try:
                started = await self._start(image)
            except (CommandError, VolumeError, aiohttp.ClientError, TimeoutError, OSError) as error:
                await self._not_started(error, crashes)
                continue
            self._set(Running(started.since, started.identifier), restarted=self.record.last is not None)
            ended = await self._until_end(started)
            self._set(ended)
            if self._stopping.is_set() or not restarts(self._policy, ended.exit_code):
                return
            if (ended.finished - ended.started).total_seconds() > _HEALTHY_SECONDS:
                crashes.attempts = 0
            self.record.last = ended
            await self._back_off(crashes, "CrashLoopBackOff")

    def _set(self, state: Waiting | Running | Terminated, *, restarted: bool = False) -> None:
        self.record.state = state
        self.record.started = self.record.ready = False
        if restarted:
            self.record.restarts += 1
        self._context.changed()

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        self._context.events.record(
            self._context.pod, "Warning" if warning else "Normal", reason, message, self._spec["name"]
        )

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _back_off(self, back_off: BackOff, reason: str) -> None:
        delay = back_off.next()
        if delay:
            metadata = self._context.pod["metadata"]
            pod = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            name = self._spec["name"]
            self._set(Waiting(reason, f"back-off {delay:g}s restarting failed container={name} pod={pod}"))
            self._event("BackOff", f"Back-off restarting failed container {name} in pod {pod}", warning=True)
            await self._pause(delay)

    async def _not_pulled(self, back_off: BackOff) -> None:
        image = self._spec["image"]
        message = (
            f'failed to pull and unpack image "{image}": not found: this stand-in has no program for it '
            "(see localcloud/README.md, images)"
        )
        self._event("Pulling", f'Pulling image "{image}"')
        self._event("Failed", f'Failed to pull image "{image}": {message}', warning=True)
        self._event("Failed", "Error: ErrImagePull", warning=True)
        self._set(Waiting("ErrImagePull", message))
        delay = back_off.next()
        await self._pause(min(1.0, delay / 2))
        self._set(Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {message}'))
        self._event("BackOff", f'Back-off pulling image "{image}"')
        self._event("Failed", "Error: ImagePullBackOff", warning=True)
        await self._pause(delay)

    async def _not_started(self, error: Exception, back_off: BackOff) -> None:
        reason = error.reason if isinstance(error, CommandError) else "CreateContainerError"
        self._event("Failed", f"Error: {error}", warning=True)
        self._set(Waiting(reason, str(error)))
        back_off.attempts = max(back_off.attempts, 1)
        await self._pause(back_off.next())

    async def _start(self, image: Image) -> _Started:
        context, spec = self._context, self._spec
        self._event("Pulled", f'Container image "{spec["image"]}" already present on machine')
        mounts = context.volumes.of(spec, rewrite_files=not image.honours_mounts)
        variables = await environment.declared(context.client, context.pod, spec, image, context.address)
        argv = commands.command_line(spec, image, variables, mounts)
        forwards: list[PortForward] = []
        if image.port_flags:
            argv, forwards = commands.with_free_ports(argv, image.port_flags, _free_ports(len(image.port_flags)))
        hostname = context.pod["metadata"]["name"]
        variables = environment.of_process(variables, image, mounts, hostname=hostname, address=context.address)
        forwarders = [await _forwarder(context.address, forward) for forward in forwards]
        self._event("Created", f"Container created: {spec['name']}")
        restart = self.record.restarts + (1 if self.record.last is not None else 0)
        log = self.logs.path(restart)
        child = await process.spawn(argv, log=log, env=variables, cwd=context.folder)
        self._event("Started", f"Container started: {spec['name']}")
        ports = {port["name"]: port["containerPort"] for port in spec.get("ports") or [] if "name" in port}
        health = Health(
            spec,
            self.record,
            Target(context.address, ports, log.with_suffix(".hooks"), variables),
            on_host=lambda command: [
                *commands.program(image, command[0]),
                *(mounts.on_host(each) for each in command[1:]),
            ],
            unhealthy=lambda message: self._event("Unhealthy", message, warning=True),
            changed=context.changed,
        )
        return _Started(child, health, datetime.now(UTC), f"local://{uuid.uuid4().hex}", forwarders)

    async def _until_end(self, started: _Started) -> Terminated:
        """Waits for the process to end, ending it where a probe or `stop` wants that."""
        exited = asyncio.create_task(started.child.wait())
        health = asyncio.create_task(started.health.watch())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({exited, health, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                if health.done():
                    self._event("Killing", f"Container {self._spec['name']} {health.result()}, will be restarted")
                    grace = float(self._context.pod["spec"].get("terminationGracePeriodSeconds", 30))
                else:
                    self._event("Killing", f"Stopping container {self._spec['name']}")
                    grace = self._grace
                health.cancel()
                await self._end(started, grace)
        finally:
            for task in (health, stopping):
                task.cancel()
            await asyncio.gather(health, stopping, return_exceptions=True)
            for forwarder in started.forwarders:
                forwarder.close()
            await process.stop(started.child, grace_seconds=0.1)  # what it may have left of its group
            await exited
        return self._terminated(started)

    def _terminated(self, started: _Started) -> Terminated:
        code = exit_code(started.child.returncode or 0)
        fall_back = self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        return Terminated(
            exit_code=code,
            reason="Completed" if code == 0 else "Error",
            message=self.logs.message(self.record.restarts) if fall_back and code else "",
            started=started.since,
            finished=datetime.now(UTC),
            container_id=started.identifier,
        )

    async def _end(self, started: _Started, grace: float) -> None:
        self.record.ready = False
        self._context.changed()
        begun = time.monotonic()
        hook: Object = ((self._spec.get("lifecycle") or {}).get("preStop") or {}) if self._hooks else {}
        match hook:
            case {"sleep": {"seconds": seconds}}:
                await asyncio.sleep(min(float(seconds), grace))
            case {"exec": _} | {"httpGet": _} | {"tcpSocket": _}:
                failure = await started.health.act(hook, grace)
                if failure is not None:
                    self._event("FailedPreStopHook", f"PreStopHook failed: {failure}", warning=True)
        spent = time.monotonic() - begun
        await process.stop(started.child, grace_seconds=max(grace - spent, _LEAST_GRACE if hook else 0.0))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


async def _forwarder(address: str, forward: PortForward) -> asyncio.Server:
    return await asyncio.start_server(
        lambda reader, writer: tcp.forward(reader, writer, [("127.0.0.1", forward.host_port)]),
        address,
        forward.pod_port,
    )
