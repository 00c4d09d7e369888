"""The directory of one conversion: made beside its destination, so that what succeeded moves there whole; always removed.

Also after the process that made it was killed: it holds a lock on a file in it, the kernel releases that with the process,
and the next conversion with the same place for its servable removes what nobody holds. The same for what a scan unpacks and
for the whole of an attempt, which lie among the machine's temporary files.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = ".slipway-export-"
_LOCK = "lock"
_YOUNG_SECONDS = 60.0
"""What is younger may just be being made, and not held yet."""


@contextmanager
def workspace(destination: Path) -> Iterator[Path]:
    """An empty directory, but for its lock, for as long as the context lasts."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    _sweep(destination.parent)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=destination.parent)).resolve()
    try:
        with (directory / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield directory
    finally:
        remove(directory)


def remove(directory: Path) -> None:
    """Removes a conversion's directory, even if the conversion took the rights to do so away."""
    for folder, names, _ in os.walk(directory):
        for path in (Path(folder) / name for name in names):
            with contextlib.suppress(FileNotFoundError):  # another removes it, too
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def temporary() -> Iterator[Path]:
    """Such a directory among the machine's temporary files."""
    with workspace(Path(tempfile.gettempdir()) / "any") as directory:
        yield directory


def _sweep(parent: Path) -> None:
    for directory in parent.glob(f"{_PREFIX}*"):
        if _abandoned(directory):
            remove(directory)


def _abandoned(directory: Path) -> bool:
    try:
        if time.time() - directory.stat().st_mtime < _YOUNG_SECONDS:
            return False
        with (directory / _LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # in use, or another user's
        return False
    except FileNotFoundError:
        return directory.is_dir()
    return True
