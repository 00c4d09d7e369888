"""Container logs: kept one file a run, read by tail, followed while the container runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

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
    """The last ``lines`` lines and then what is added, until ``running`` says no and all is read."""
    position, chunk = _from(path, 0)
    while True:
        if position and lines is not None:
            chunk = b"".join(chunk.splitlines(keepends=True)[-lines:]) if lines else b""
            lines = None
        if chunk:
            yield chunk
        last_look = not running()
        position, chunk = _from(path, position)
        if last_look:
            if chunk:
                yield chunk
            return
        if not chunk:
            await asyncio.sleep(_POLL_SECONDS)


def _from(path: Path, position: int) -> tuple[int, bytes]:
    """What a file holds from ``position`` on, and where that ends."""
    if not path.exists():
        return position, b""
    with path.open("rb") as file:
        file.seek(position)
        content = file.read()
        return file.tell(), content
