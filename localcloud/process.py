"""Child processes of the local cloud that cannot outlive it.

A child is started in a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone and the supervisor
ends the children in order. Where the supervisor is killed without a chance to do so (SIGKILL), the kernel ends the
child: the launcher below asks Linux for that (``prctl(PR_SET_PDEATHSIG)``) and then becomes the child. Elsewhere than
on Linux a SIGKILL of the supervisor leaves its children to the user.

The signal may come twice: a child of a process with several threads is handed from one dying thread to the next. So a
child must not mind a second SIGTERM.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


async def spawn(
    argv: Sequence[str],
    *,
    log: Path | IO[bytes],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    death_signal: signal.Signals = signal.SIGTERM,
) -> asyncio.subprocess.Process:
    """Starts ``argv`` so that it ends with this process; its output is appended to ``log``, a path or an open file.

    ``pass_fds`` are files that it holds open with this process, such as a lock. ``death_signal`` is what it gets when this
    process is killed. Call it from the main thread: Linux ties the child to the thread that started it.
    """
    with contextlib.ExitStack() as opened:
        if isinstance(log, Path):
            log.parent.mkdir(parents=True, exist_ok=True)
            log = opened.enter_context(log.open("ab"))
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal)), *argv,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=None if env is None else dict(env),
            cwd=cwd, start_new_session=True, pass_fds=pass_fds,
        )  # fmt: skip


async def stop(process: asyncio.subprocess.Process, *, grace_seconds: float = 10.0) -> int:
    """Ends a spawned child and all of its group: SIGTERM, then SIGKILL after ``grace_seconds``. Returns its status."""
    _signal_group(process, signal.SIGTERM)
    try:
        return await asyncio.wait_for(process.wait(), grace_seconds)
    except TimeoutError:
        return await kill(process)
    finally:
        _signal_group(process, signal.SIGKILL)  # grandchildren that ignored the SIGTERM


async def kill(process: asyncio.subprocess.Process) -> int:
    """Ends a spawned child and all of its group at once. Returns its status."""
    _signal_group(process, signal.SIGKILL)
    return await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _become(parent: int, death_signal: int, argv: Sequence[str]) -> None:
    """Runs in the child: ties its life to ``parent``, then replaces itself by ``argv``."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # it died before the request was made
            sys.exit(1)
    os.execvp(argv[0], list(argv))  # noqa: S606  (the command is the supervisor's own)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
