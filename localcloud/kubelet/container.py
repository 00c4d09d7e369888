"""One container of a pod: its image pulled, run after run started, with back-off, until nobody wants it any more."""

import asyncio
import contextlib

import aiohttp

from localcloud.kubelet import pulls
from localcloud.kubelet.api import KubernetesError, Object
from localcloud.kubelet.commands import CommandError
from localcloud.kubelet.container_state import (
    BackOff,
    ContainerRecord,
    Running,
    Terminated,
    Waiting,
    duration,
    restarts,
)
from localcloud.kubelet.images import Image
from localcloud.kubelet.logs import ContainerLogs
from localcloud.kubelet.run import Ending, PodContext, Run
from localcloud.kubelet.volumes import VolumeError

_TROUBLE = (CommandError, VolumeError, KubernetesError, aiohttp.ClientError, TimeoutError, OSError)


class Container:
    """Runs one container until its restart policy is content, or `stop` is called."""

    def __init__(self, spec: Object, context: PodContext, record: ContainerRecord, policy: str) -> None:
        self.name: str = spec["name"]
        self._spec = spec
        self._context = context
        self.record = record
        self.logs = ContainerLogs(context.folder / "logs" / spec["name"])
        self._policy = policy
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._ending = Ending(30.0)

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return isinstance(self.record.state, Running)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well, for good."""
        return isinstance(self.record.state, Terminated) and self.record.state.exit_code == 0

    def stop(self, ending: Ending) -> None:
        """Asks for the end: preStop, SIGTERM, SIGKILL when the grace is over; then `run` returns.

        Asked again without any grace, a container that is being ended is killed.
        """
        if self._stopping.is_set() and ending.grace <= 0:
            self._hurry.set()
        elif not self._stopping.is_set():
            self._ending = ending
            self._stopping.set()

    async def run(self) -> None:
        """Runs the container to its end. Cancelling kills the process."""
        settings = self._context.settings
        attempts = BackOff(settings.back_off_base, settings.back_off_max, attempts=1)
        crashes = BackOff(settings.back_off_base, settings.back_off_max)
        while not self._stopping.is_set():
            image = await self._pulled(attempts)
            if image is None:
                continue
            number = self.record.restarts + (1 if self.record.last is not None else 0)
            try:
                run = await Run.start(self._spec, self._context, image, self.record, self.logs, number)
            except _TROUBLE as error:
                await self._not_started(error, crashes)
                continue
            self.record.restarts = number
            self._set(Running(run.since, run.identifier))
            ended = await run.until_end(self._stopping, lambda: self._ending, self._hurry)
            self._set(ended)
            if self._stopping.is_set() or not restarts(self._policy, ended.exit_code):
                return
            if (ended.finished - ended.started).total_seconds() > 2 * settings.back_off_max:
                crashes.attempts = 0
            self.record.last = ended
            await self._back_off(crashes)

    def _set(self, state: Waiting | Running | Terminated) -> None:
        self.record.state = state
        self.record.started = self.record.ready = False
        self._context.changed()

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        self._context.event(self.name, reason, message, warning=warning)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _back_off(self, back_off: BackOff) -> None:
        delay = back_off.next()
        if delay:
            metadata = self._context.pod["metadata"]
            failed = f"restarting failed container={self.name} pod={metadata['name']}_{metadata['namespace']}({metadata['uid']})"
            self._set(Waiting("CrashLoopBackOff", f"back-off {duration(delay)} {failed}"))
            told = failed.replace(f"={self.name} pod=", f" {self.name} in pod ")
            self._event("BackOff", f"Back-off {told}", warning=True)
            await self._pause(delay)

    async def _pulled(self, back_off: BackOff) -> Image | None:
        """The image, once it is on the node; None after a failed attempt and its back-off, or when the end is wanted."""
        context, reference = self._context, self._spec["image"]
        decided = pulls.decide(self._spec, context.images.find(reference), present=reference in context.pulled)
        match decided:
            case pulls.Present(image):
                self._event("Pulled", f'Container image "{reference}" already present on machine')
                return image
            case pulls.Pull(image):
                self._event("Pulling", f'Pulling image "{reference}"')
                seconds = 0.0 if reference in context.pulled else context.settings.image_pull
                await self._pause(seconds)
                if self._stopping.is_set():
                    return None
                context.pulled.add(reference)
                took = f"{duration(seconds)} ({duration(seconds)} including waiting)"
                self._event("Pulled", f'Successfully pulled image "{reference}" in {took}')
                return image
            case pulls.Refused(reason, message, again):
                await self._not_pulled(reason, message, again, back_off)
                return None

    async def _not_pulled(self, reason: str, message: str, again: str, back_off: BackOff) -> None:
        image = self._spec["image"]
        if again:
            self._event("Pulling", f'Pulling image "{image}"')
            self._event("Failed", f'Failed to pull image "{image}": {message}', warning=True)
        else:
            self._event(reason, message, warning=True)
        self._event("Failed", f"Error: {reason}", warning=True)
        self._set(Waiting(reason, message))
        delay = back_off.next()
        if again:
            await self._pause(min(1.0, delay / 2))
            self._set(Waiting(again, f'Back-off pulling image "{image}": {reason}: {message}'))
            self._event("BackOff", f'Back-off pulling image "{image}"')
            self._event("Failed", f"Error: {again}", warning=True)
        await self._pause(delay)

    async def _not_started(self, error: Exception, back_off: BackOff) -> None:
        reason = error.reason if isinstance(error, CommandError) else "CreateContainerError"
        self._event("Failed", f"Error: {error}", warning=True)
        self._set(Waiting(reason, str(error)))
        back_off.attempts = max(back_off.attempts, 1)
        await self._pause(back_off.next())
