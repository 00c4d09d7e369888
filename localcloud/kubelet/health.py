"""Asks the probes of a running container, and says what makes it be killed."""

import asyncio
from collections.abc import Callable, Sequence

from localcloud.kubelet.api import Object
from localcloud.kubelet.commands import CommandError
from localcloud.kubelet.container_state import ContainerRecord
from localcloud.kubelet.probes import ProbeSpec, Tally, Target, ask


class Health:
    """The probes and hooks of one run of a container.

    ``on_host`` turns the command of an exec action into one of this machine (or raises `CommandError`), ``unhealthy`` hears
    of every failed probe, ``changed`` of every change to ``record``.
    """

    def __init__(
        self,
        spec: Object,
        record: ContainerRecord,
        target: Target,
        *,
        on_host: Callable[[Sequence[str]], list[str]],
        unhealthy: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._spec = spec
        self._record = record
        self._target = target
        self._on_host = on_host
        self._unhealthy = unhealthy
        self._changed = changed

    async def act(self, action: Object, limit: float) -> str | None:
        """Performs a probe's or a hook's action within ``limit`` seconds; returns None, or why it failed."""
        command = None
        if "exec" in action:
            try:
                command = self._on_host(action["exec"]["command"])
            except CommandError as error:
                return str(error)
        return await ask(action, self._target, command, limit)

    async def watch(self) -> str:
        """Asks for as long as the container runs. Returns what makes it be killed, as its event words it."""
        startup = ProbeSpec.of(self._spec.get("startupProbe"))
        if startup is not None:
            tally = await self._ask(startup, "Startup", lambda tally: tally.verdict is not None)
            if not tally.verdict:
                return "failed startup probe"
        self._record.started = True
        readiness = ProbeSpec.of(self._spec.get("readinessProbe"))
        liveness = ProbeSpec.of(self._spec.get("livenessProbe"))
        self._record.ready = readiness is None
        self._changed()
        async with asyncio.TaskGroup() as group:
            asking = (
                None if readiness is None else group.create_task(self._ask(readiness, "Readiness", self._readiness))
            )
            if liveness is None:
                await asyncio.Event().wait()  # until cancelled
            else:
                await self._ask(liveness, "Liveness", lambda tally: tally.verdict is False)
            if asking is not None:
                asking.cancel()
        return "failed liveness probe"

    def _readiness(self, tally: Tally) -> bool:
        if tally.verdict is not None and self._record.ready is not tally.verdict:
            self._record.ready = tally.verdict
            self._changed()
        return False

    async def _ask(self, spec: ProbeSpec, kind: str, done: Callable[[Tally], bool]) -> Tally:
        """Asks again and again until ``done`` says that the tally is settled."""
        await asyncio.sleep(spec.initial_delay)
        tally = Tally(spec)
        while True:
            failure = await self.act(spec.action, spec.timeout)
            if failure is not None:
                self._unhealthy(f"{kind} probe failed: {failure}")
            tally = tally.after(failure is None)
            if done(tally):
                return tally
            await asyncio.sleep(spec.period)
