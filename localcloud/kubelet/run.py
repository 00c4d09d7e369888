"""One run of a container: its process, its probes, its memory limit, and its end with grace."""

import asyncio
import contextlib
import os
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from localcloud import process
from localcloud.kubelet import admission, commands, environment, memory, signals, tcp
from localcloud.kubelet.api import KubernetesClient, Object
from localcloud.kubelet.commands import PortForward
from localcloud.kubelet.container_state import ContainerRecord, Terminated, exit_code
from localcloud.kubelet.events import EventRecorder
from localcloud.kubelet.health import Health, Verdict
from localcloud.kubelet.images import Image, ImageRegistry
from localcloud.kubelet.logs import ContainerLogs
from localcloud.kubelet.probes import ProbeError, Target
from localcloud.kubelet.settings import KubeletSettings
from localcloud.kubelet.volumes import PodVolumes
from localcloud.kubernetes.quantities import parse_quantity

_LEAST_GRACE = 2.0  # after a preStop hook that took all of the grace period
_LONGEST_HOOK = 3600.0
_LAST_WORDS = 1.0  # for output that something which left the container's session still holds open


@dataclass(frozen=True)
class PodContext:
    """What a container needs of its pod."""

    pod: Object
    client: KubernetesClient
    events: EventRecorder
    images: ImageRegistry
    pulled: set[str]
    settings: KubeletSettings
    volumes: PodVolumes
    address: str
    host_address: str
    folder: Path
    changed: Callable[[], None]

    def event(self, container: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Records what happened to a container."""
        self.events.record(self.pod, "Warning" if warning else "Normal", reason, message, container)


@dataclass(frozen=True)
class Ending:
    """How a container is to be ended: within ``grace`` seconds, its preStop hook first if ``hooks``."""

    grace: float
    hooks: bool = True


class Run:
    """A started container. `until_end` sees it through to its end."""

    def __init__(
        self,
        spec: Object,
        context: PodContext,
        child: asyncio.subprocess.Process,
        health: Health,
        keeping: asyncio.Task[None],
        undo: contextlib.AsyncExitStack,
        image: Image,
        logs: ContainerLogs,
        number: int,
    ) -> None:
        self._spec = spec
        self._context = context
        self._child = child
        self._health = health
        self._keeping = keeping
        self._undo = undo
        self._image = image
        self._logs = logs
        self._number = number
        self._readiness: asyncio.Task[None] | None = None
        self.since = datetime.now(UTC)
        self.identifier = f"local://{uuid.uuid4().hex}"

    @classmethod
    async def start(
        cls, spec: Object, context: PodContext, image: Image, record: ContainerRecord, logs: ContainerLogs, number: int
    ) -> "Run":
        """Starts run ``number``. Raises `CommandError`, `VolumeError`, OSError or what the API client raises."""
        admission.check_user(context.pod, spec, image)
        mounts = context.volumes.of(spec, rewrite_files=not image.honours_mounts)
        declared = await environment.declared(
            context.client, context.pod, spec, image, environment.Addresses(context.address, context.host_address)
        )
        argv = commands.command_line(spec, image, declared, mounts)
        forwards: list[PortForward] = []
        if image.port_flags:
            argv, forwards = commands.with_free_ports(argv, image.port_flags, _free_ports(len(image.port_flags)))
        hostname = context.pod["metadata"]["name"]
        variables = environment.of_process(declared, image, mounts, hostname=hostname, address=context.address)
        async with contextlib.AsyncExitStack() as undo:
            for forward in forwards:
                await undo.enter_async_context(_forwarder(context.address, forward))
            context.event(spec["name"], "Created", f"Container created: {spec['name']}")
            read_end, write_end = _pipe()
            undo.enter_context(read_end)
            with write_end:
                child = await process.spawn(
                    argv, log=write_end, env=variables, cwd=context.folder, death_signal=signal.SIGKILL
                )
            stream = asyncio.StreamReader()
            loop = asyncio.get_running_loop()
            transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), read_end)
            undo.callback(transport.close)
            keeping = asyncio.create_task(logs.keep(number, stream))
            context.event(spec["name"], "Started", f"Container started: {spec['name']}")
            ports = {port["name"]: port["containerPort"] for port in spec.get("ports") or [] if "name" in port}
            health = Health(
                spec,
                record,
                Target(context.address, ports, variables, context.folder, mounts),
                on_host=lambda command: [
                    *commands.program(image, command[0]),
                    *(mounts.on_host(each) for each in command[1:]),
                ],
                unhealthy=lambda message: context.event(spec["name"], "Unhealthy", message, warning=True),
                changed=context.changed,
            )
            return cls(spec, context, child, health, keeping, undo.pop_all(), image, logs, number)

    async def until_end(
        self, stopping: asyncio.Event, ending: Callable[[], Ending], hurry: asyncio.Event
    ) -> Terminated:
        """Waits for the process to end, ending it where a probe, its memory or ``stopping`` wants that.

        ``hurry`` has it killed while it is being ended.
        """
        exited = asyncio.create_task(self._child.wait())
        asked = asyncio.create_task(stopping.wait())
        greedy = asyncio.create_task(self._memory_exceeded())
        condemned = asyncio.create_task(self._condemned())
        out_of_memory = False
        try:
            await asyncio.wait({exited, asked, greedy, condemned}, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                pass
            elif greedy.done():
                out_of_memory = True
            elif asked.done():
                condemned.cancel()
                self._event("Killing", f"Stopping container {self._spec['name']}")
                await self._end(ending(), exited, hurry)
            else:
                verdict = condemned.result()
                self._event("Killing", f"Container {self._spec['name']} {verdict.reason}, will be restarted")
                await self._end(Ending(verdict.grace or _grace(self._context.pod)), exited, hurry)
        finally:
            watching = [asked, greedy, condemned, *([self._readiness] if self._readiness else [])]
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await process.kill(self._child)  # and what it may have left of its group, too
            await exited
            await asyncio.wait([self._keeping], timeout=_LAST_WORDS)
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            await self._undo.aclose()
        return self._terminated(out_of_memory=out_of_memory)

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        self._context.event(self._spec["name"], reason, message, warning=warning)

    async def _condemned(self) -> Verdict:
        """Asks the probes; returns what has the container killed. Readiness is asked until the very end."""
        failure = await self._act("postStart", _LONGEST_HOOK)
        if failure is not None:
            self._event("FailedPostStartHook", f"PostStartHook failed: {failure}", warning=True)
            return Verdict("failed postStart hook", None)
        failed = await self._health.start()
        if failed is not None:
            return failed
        self._readiness = asyncio.create_task(self._health.follow_readiness())
        return await self._health.watch_liveness()

    async def _memory_exceeded(self) -> None:
        limit = (self._spec.get("resources", {}).get("limits") or {}).get("memory")
        if limit is None:
            await asyncio.Event().wait()  # until cancelled
        else:
            await memory.exceeded(self._child.pid, int(parse_quantity(limit)), self._context.settings.memory_check)

    async def _act(self, name: str, limit: float) -> str | None:
        """Performs a hook of the container, if it has it, within ``limit`` seconds; returns why it failed."""
        hook: Object = (self._spec.get("lifecycle") or {}).get(name) or {}
        match hook:
            case {"sleep": {"seconds": seconds}}:
                await asyncio.sleep(min(float(seconds), limit))
            case {"exec": _} | {"httpGet": _} | {"tcpSocket": _}:
                try:
                    return await self._health.act(hook, limit)
                except ProbeError as error:
                    return str(error)
        return None

    async def _end(self, ending: Ending, exited: asyncio.Task[int], hurry: asyncio.Event) -> None:
        """preStop, SIGTERM, and SIGKILL when the grace is over, or at once when there is a hurry."""
        orderly = asyncio.create_task(self._end_orderly(ending, exited))
        hurried = asyncio.create_task(hurry.wait())
        try:
            await asyncio.wait({orderly, hurried}, return_when=asyncio.FIRST_COMPLETED)
            if orderly.done():
                orderly.result()  # raises what it raised
        finally:
            for task in (orderly, hurried):
                task.cancel()
            await asyncio.gather(orderly, hurried, return_exceptions=True)

    async def _end_orderly(self, ending: Ending, exited: asyncio.Task[int]) -> None:
        begun = time.monotonic()
        hooked = ending.hooks and "preStop" in (self._spec.get("lifecycle") or {})
        if hooked:
            hook = asyncio.create_task(self._act("preStop", ending.grace))
            try:
                await asyncio.wait({hook, exited}, return_when=asyncio.FIRST_COMPLETED)
                if hook.done() and (failure := hook.result()) is not None:
                    self._event("FailedPreStopHook", f"PreStopHook failed: {failure}", warning=True)
            finally:
                hook.cancel()
                await asyncio.gather(hook, return_exceptions=True)
        spent = time.monotonic() - begun
        left = max(ending.grace - spent, _LEAST_GRACE if hooked else 0.0)
        if self._deaf():
            await asyncio.wait({exited}, timeout=left)
        else:
            await process.stop(self._child, grace_seconds=left)

    def _deaf(self) -> bool:
        """Whether SIGTERM would do nothing to the process if it were process 1, and that is to be so here."""
        if not self._context.settings.strict_signals:
            return False
        return self._image.deaf_to_term or not signals.handles(self._child.pid, signal.SIGTERM)

    def _terminated(self, *, out_of_memory: bool) -> Terminated:
        code = exit_code(self._child.returncode or 0)
        reason = "Completed" if code == 0 else "OOMKilled" if out_of_memory else "Error"
        fall_back = self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        return Terminated(
            exit_code=code,
            reason=reason,
            message=self._logs.message(self._number) if fall_back and code else "",
            started=self.since,
            finished=datetime.now(UTC),
            container_id=self.identifier,
        )


def _grace(pod: Object) -> float:
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    """A pipe of our own, as asyncio's would keep a child waited for until its last descendant has closed it."""
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb", buffering=0), os.fdopen(writer, "wb")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


@contextlib.asynccontextmanager
async def _forwarder(address: str, forward: PortForward) -> AsyncIterator[None]:
    server = await asyncio.start_server(
        lambda reader, writer: tcp.forward(reader, writer, [("127.0.0.1", forward.host_port)]),
        address,
        forward.pod_port,
    )
    try:
        yield
    finally:
        server.close()
