"""Ends what the containers of a killed stand-in have left running: the kernel ends the containers, not their children."""

import contextlib
import logging
import os
import signal
from pathlib import Path

_log = logging.getLogger(__name__)
_PROC = Path("/proc")


def end(folder: Path) -> None:
    """Kills the processes that work in ``folder``, where the containers of this data folder are started, and nobody else."""
    if not _PROC.is_dir():
        return
    for process in _PROC.iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                place = Path(os.readlink(process / "cwd"))  # noqa: PTH115  (of a folder that may be gone)
                if place.is_relative_to(folder):
                    os.kill(int(process.name), signal.SIGKILL)
                    _log.info("process %s, left by a container of an earlier start, ended", process.name)
