"""Starts processes that write a ready file, and tells when one of them ends by itself."""

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from localcloud.errors import ProcessEndedError
from localcloud.files import end_of, last_lines
from localcloud.process import spawn, stop

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Supervised:
    """One running process; ``begin`` is where its log began this time, in bytes."""

    name: str
    process: Process
    log: Path
    begin: int


class Supervisor:
    """Keeps what it has started in order, to end it in the reverse order. ``data`` holds logs and ready files."""

    def __init__(self, data: Path, pass_fds: Sequence[int] = ()) -> None:
        """``pass_fds``: files that the processes hold open."""
        self._data = data
        self.pass_fds = pass_fds
        self._running: list[Supervised] = []

    def log_of(self, name: str) -> Path:
        """Where a process writes."""
        return self._data / "logs" / f"{name}.log"

    def ready_file_of(self, name: str) -> Path:
        """Where a process says that it listens."""
        return self._data / "run" / f"{name}.json"

    def adopt(self, name: str, process: Process) -> None:
        """Watches over a process that something else has started and found ready; its log is ``log_of(name)``."""
        self._running.append(Supervised(name, process, self.log_of(name), begin=0))

    async def start(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout_seconds: float
    ) -> dict[str, object]:
        """Starts a process and waits for its ready file; gives the content.

        Raises:
            ProcessEndedError: it ended, or was not ready in time.
        """
        log, ready_file = self.log_of(name), self.ready_file_of(name)
        _forget(ready_file)
        begin = end_of(log)
        process = await spawn(argv, log=log, env=env, cwd=cwd, pass_fds=self.pass_fds)
        supervised = Supervised(name, process, log, begin)
        self._running.append(supervised)
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while (content := _content(ready_file)) is None:
            if process.returncode is not None:
                raise _ended(supervised)
            if asyncio.get_running_loop().time() > deadline:
                raise ProcessEndedError(
                    f"{name} was not ready after {timeout_seconds:.0f} s. Its log, {log}, ends with:\n"
                    f"{last_lines(log, begin)}"
                )
            await asyncio.sleep(_POLL_SECONDS)
        return content

    async def watch(self) -> NoReturn:
        """Waits until one of the processes ends by itself.

        Raises:
            ProcessEndedError: always; which one, and the end of its log.
        """
        waits = {asyncio.create_task(one.process.wait()): one for one in self._running}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        raise _ended(waits[done.pop()])

    async def stop(self, *, grace_seconds: float) -> None:
        """Ends everything, the last started first."""
        while self._running:
            await stop(self._running.pop().process, grace_seconds=grace_seconds)


def _ended(supervised: Supervised) -> ProcessEndedError:
    status = supervised.process.returncode or 0
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return ProcessEndedError(
        f"{supervised.name} {how}. Its log, {supervised.log}, ends with:\n"
        f"{last_lines(supervised.log, supervised.begin)}"
    )


def _forget(ready_file: Path) -> None:
    ready_file.parent.mkdir(parents=True, exist_ok=True)
    ready_file.unlink(missing_ok=True)


def _content(ready_file: Path) -> dict[str, object] | None:
    if not ready_file.is_file():
        return None
    content: dict[str, object] = json.loads(ready_file.read_text())
    return content
