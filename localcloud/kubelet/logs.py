"""Container logs: kept one file a run, read by tail, followed while the container runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.1
_MESSAGE_BYTES = 2048
_MESSAGE_LINES = 80


class ContainerLogs:
    """The logs of one container, under ``folder``: ``0.log``, ``1.log`` … by restart count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, restart: int) -> Path:
        """The log of one run."""
        return self._folder / f"{restart}.log"

    def message(self, restart: int) -> str:
        """The end of a run's log, as ``terminationMessagePolicy: FallbackToLogsOnError`` takes it."""
        return tail(self.path(restart), _MESSAGE_LINES)[-_MESSAGE_BYTES:].decode(errors="replace")


def tail(path: Path, lines: int | None) -> bytes:
    """The last ``lines`` lines of a file (all where None); empty where there is no file."""
    if not path.exists() or lines == 0:
        return b""
    content = path.read_bytes()
    return content if lines is None else b"".join(content.splitlines(keepends=True)[-lines:])


async def follow(path: Path, lines: int | None, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The last ``lines`` lines and then what is added, until ``running`` says no and all is read.

    The file may be removed meanwhile: what it had is read all the same.
    """
    with contextlib.ExitStack() as opened:
        while (file := _opened(path)) is None:
            if not running():
                return
            await asyncio.sleep(_POLL_SECONDS)
        opened.enter_context(file)
        first = file.read()
        yield first if lines is None else b"".join(first.splitlines(keepends=True)[-lines:] if lines else [])
        last_look = False
        while not last_look:
            last_look = not running()
            if chunk := file.read():
                yield chunk
            elif not last_look:
                await asyncio.sleep(_POLL_SECONDS)


def _opened(path: Path) -> BinaryIO | None:
    return path.open("rb") if path.exists() else None
