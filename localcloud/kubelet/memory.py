"""What a container's processes have of memory, and when that is more than its limit."""

import asyncio
import contextlib
from pathlib import Path

_PROC = Path("/proc")
_SESSION = 3  # of the fields of /proc/N/stat that come after the command's closing parenthesis


async def exceeded(session: int, limit: int, period: float) -> None:
    """Returns once the processes of ``session`` have more than ``limit`` bytes; looks every ``period`` seconds.

    Never returns where there is no /proc.
    """
    while used(session) <= limit:  # noqa: ASYNC110  (no event tells of memory)
        await asyncio.sleep(period)


def used(session: int) -> int:
    """Bytes of memory that cannot be reclaimed: anonymous and shared pages. Mapped files do not count, as in a cgroup."""
    if not _PROC.is_dir():
        return 0
    return sum(_resident(folder) for folder in _PROC.iterdir() if folder.name.isdecimal() and _is_of(folder, session))


def _is_of(process: Path, session: int) -> bool:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        after_command = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(after_command[_SESSION]) == session
    return False


def _resident(process: Path) -> int:
    kibibytes = 0
    with contextlib.suppress(OSError):
        for line in (process / "status").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name in ("RssAnon", "RssShmem"):
                kibibytes += int(value.split()[0])
    return kibibytes * 1024
