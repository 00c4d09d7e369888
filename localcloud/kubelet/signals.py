"""Which signals a process handles."""

import contextlib
import signal
from pathlib import Path


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own for a signal; yes, where that cannot be told."""
    with contextlib.suppress(OSError):  # it has ended, or there is no /proc
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            name, _, mask = line.partition(":")
            if name == "SigCgt":
                return bool(int(mask, 16) >> (number - 1) & 1)
    return True
