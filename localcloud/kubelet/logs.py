"""Container logs, in the format of the container runtimes: ``TIME stdout F line``; kept one file a run.

A runtime reads what a container writes and notes when; so tails, ``--since`` and ``--timestamps`` need nothing else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.1
_MESSAGE_BYTES = 2048
_MESSAGE_LINES = 80
_CHUNK = 1 << 16
_LONGEST = 1 << 14
"""A line longer than this is written in parts, as containerd does."""


@dataclass(frozen=True)
class View:
    """What of a log is asked for: the last ``lines`` (all where None), not before ``since``, with their times or not."""

    lines: int | None = None
    since: datetime | None = None
    timestamps: bool = False


class ContainerLogs:
    """The logs of one container, under ``folder``: ``0.log``, ``1.log`` … by restart count."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, restart: int) -> Path:
        """The log of one run."""
        return self._folder / f"{restart}.log"

    def message(self, restart: int) -> str:
        """The end of a run's log, as ``terminationMessagePolicy: FallbackToLogsOnError`` takes it."""
        return read(self.path(restart), View(_MESSAGE_LINES))[-_MESSAGE_BYTES:].decode(errors="replace")

    async def keep(self, restart: int, output: asyncio.StreamReader) -> None:
        """Writes what comes from a container's output into the log of a run, until the output is closed.

        The log of the run before is kept, older ones are not.
        """
        self.path(restart - 2).unlink(missing_ok=True)
        path = self.path(restart)
        path.parent.mkdir(parents=True, exist_ok=True)
        rest = b""
        with path.open("ab", buffering=0) as file:
            while chunk := await output.read(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                file.write(_entries(lines))
                while len(rest) >= _LONGEST:
                    file.write(_entry(rest[:_LONGEST], b"P"))
                    rest = rest[_LONGEST:]
            if rest:
                file.write(_entry(rest, b"P"))


def _entries(lines: Iterable[bytes]) -> bytes:
    return b"".join(_entry(line, b"F") for line in lines)


def _entry(text: bytes, tag: bytes) -> bytes:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    return b"%s stdout %s %s\n" % (now, tag, text)


@dataclass(frozen=True)
class _Line:
    time: bytes
    whole: bool
    text: bytes

    @classmethod
    def parse(cls, entry: bytes) -> "_Line":
        time, _, tag, text = entry.split(b" ", 3)
        return cls(time, tag == b"F", text)

    def shown(self, view: View) -> bytes:
        if view.since is not None and datetime.fromisoformat(self.time.decode()) < view.since:
            return b""
        return b"%s%s%s" % (self.time + b" " if view.timestamps else b"", self.text, b"\n" if self.whole else b"")


def read(path: Path, view: View) -> bytes:
    """What ``view`` shows of a log; nothing where there is no file."""
    return _shown(path.read_bytes(), view) if path.exists() else b""


def _shown(content: bytes, view: View) -> bytes:
    complete = content.split(b"\n")[:-1]  # by line feeds only: carriage returns are part of what was written
    if view.lines is not None:
        complete = complete[-view.lines :] if view.lines else []
    return b"".join(_Line.parse(entry).shown(view) for entry in complete)


async def follow(path: Path, view: View, running: Callable[[], bool]) -> AsyncIterator[bytes]:
    """What ``view`` shows and then what is added, until ``running`` says no and all is read.

    The file may be removed meanwhile: what it had is read all the same.
    """
    with contextlib.ExitStack() as opened:
        while (file := _opened(path)) is None:
            if not running():
                return
            await asyncio.sleep(_POLL_SECONDS)
        opened.enter_context(file)
        rest = b""
        added = View(None, view.since, view.timestamps)
        asked = view
        last_look = False
        while not last_look:
            last_look = not running()
            complete, line_feed, rest = (rest + file.read()).rpartition(b"\n")
            if line_feed or asked is view:
                yield _shown(complete + line_feed, asked)
                asked = added
            elif not last_look:
                await asyncio.sleep(_POLL_SECONDS)


def _opened(path: Path) -> BinaryIO | None:
    return path.open("rb") if path.exists() else None
