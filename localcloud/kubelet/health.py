"""Asks the probes of a running container, and says what makes it be killed."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localcloud.kubelet.api import Object
from localcloud.kubelet.commands import CommandError
from localcloud.kubelet.container_state import ContainerRecord
from localcloud.kubelet.probes import ProbeError, ProbeSpec, Tally, Target, ask


@dataclass(frozen=True)
class Verdict:
    """Why a container is to be killed, as its event words it, and the probe's own grace period if it has one."""

    reason: str
    grace: float | None


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
        self._record = record
        self._target = target
        self._on_host = on_host
        self._unhealthy = unhealthy
        self._changed = changed
        self._startup = ProbeSpec.of(spec.get("startupProbe"))
        self._readiness = ProbeSpec.of(spec.get("readinessProbe"))
        self._liveness = ProbeSpec.of(spec.get("livenessProbe"))
        self._began = asyncio.get_running_loop().time()

    async def act(self, action: Object, limit: float) -> str | None:
        """Performs a probe's or a hook's action within ``limit`` seconds; returns None, or why it failed.

        Raises:
            ProbeError: it could not be performed at all.
        """
        command = None
        if "exec" in action:
            try:
                command = self._on_host(action["exec"]["command"])
            except CommandError as error:
                raise ProbeError(str(error)) from error
        return await ask(action, self._target, command, limit)

    async def start(self) -> Verdict | None:
        """Asks the startup probe until it succeeds; without one, the container has started. Else what has it killed."""
        if self._startup is not None:
            tally = await self._ask(self._startup, "Startup", lambda tally: tally.verdict is not None)
            if not tally.verdict:
                return Verdict("failed startup probe", self._startup.grace)
        self._record.started = True
        self._record.ready = self._readiness is None
        self._changed()
        return None

    async def follow_readiness(self) -> None:
        """Asks the readiness probe, if there is one, until cancelled: also while the container is being ended."""
        if self._readiness is not None:
            await self._ask(self._readiness, "Readiness", self._note_readiness)

    async def watch_liveness(self) -> Verdict:
        """Asks the liveness probe until it fails; without one, until cancelled."""
        if self._liveness is None:
            await asyncio.Event().wait()
            raise AssertionError("nothing sets this event")
        await self._ask(self._liveness, "Liveness", lambda tally: tally.verdict is False)
        return Verdict("failed liveness probe", self._liveness.grace)

    def _note_readiness(self, tally: Tally) -> bool:
        if tally.verdict is not None and self._record.ready is not tally.verdict:
            self._record.ready = tally.verdict
            self._changed()
        return False

    async def _ask(self, spec: ProbeSpec, kind: str, done: Callable[[Tally], bool]) -> Tally:
        """Asks every ``period``, ``initial_delay`` after the container's start at the earliest, until ``done``."""
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(self._began + spec.initial_delay - clock())
        tally = Tally(spec)
        while True:
            due = clock() + spec.period
            try:
                failure = await self.act(spec.action, spec.timeout)
            except ProbeError as error:
                self._unhealthy(f"{kind} probe errored and resulted in unknown state: {error}")
            else:
                if failure is not None:
                    self._unhealthy(f"{kind} probe failed: {failure}")
                tally = tally.after(failure is None)
                if done(tally):
                    return tally
            await asyncio.sleep(due - clock())
