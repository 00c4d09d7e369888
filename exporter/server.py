"""The converting process: imports TensorFlow once, then forks for each job. Started and owned by ``exporter.worker``.

Per job: fork → own session, tied to this process's life → standard streams to the job's log → limits and confinement →
convert → outcome in the job's directory → exit. This process waits, with a wall clock, and says how the fork ended. It
has one thread and never runs an operation of TensorFlow, so that its forks start from a clean state. It ends when its
standard input does.
"""

import argparse
import contextlib
import fcntl
import gc
import importlib
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from exporter import sandbox
from exporter.errors import ConversionFailed, ExportError, OutOfMemory, Stage
from exporter.job import LOG, OUTCOME, SCRATCH, Broken, Ended, Entered, Failed, Job, Ready
from exporter.manifest import Sandbox
from exporter.workspace import remove

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def main() -> int:
    """Serves jobs until standard input ends or no job has come for a while."""
    parser = argparse.ArgumentParser(prog="exporter.server")
    parser.add_argument("--idle-seconds", type=float, required=True)
    idle_seconds = parser.parse_args().idle_seconds
    _end_with_stdin(True)
    messages = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)  # whatever else writes to standard output is no message
    try:
        from exporter.convert import run  # noqa: F401, PLC0415  (imports TensorFlow and Keras: paid for here, once)
    except Exception as error:  # noqa: BLE001  (said to the caller, who raises it)
        _say(messages, Broken(reason=f"{type(error).__name__}: {error}"[:1000]))
        return 1
    gc.collect()
    gc.freeze()  # the forks' collectors leave the imported modules' pages shared
    _end_with_stdin(False)
    wakeup = _wake_on_child_exit()
    _say(messages, Ready())
    while select.select([_STDIN], [], [], idle_seconds)[0]:
        line = _read_line()
        if line is None:
            return 0
        _serve(Job.model_validate_json(line), messages, wakeup)
    return 0


def _end_with_stdin(on: bool) -> None:
    """While on, the kernel ends this process when its standard input closes: an import would not notice."""
    fcntl.fcntl(_STDIN, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(_STDIN, fcntl.F_GETFL)
    fcntl.fcntl(_STDIN, fcntl.F_SETFL, flags | os.O_ASYNC if on else flags & ~os.O_ASYNC)


def _wake_on_child_exit() -> int:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def _read_line() -> bytes | None:
    """One job. The caller writes it whole and waits for its end, so nothing follows it."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(_STDIN, 1 << 16)
        if not chunk:
            return None
        line += chunk
    return line


def _serve(job: Job, messages: int, wakeup: int) -> None:
    server = os.getpid()
    child = os.fork()
    if child == 0:
        _become_conversion(job, messages, server)
    deadline = time.monotonic() + job.limits.wall_seconds
    caller_gone = timed_out = False
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if caller_gone or timed_out:
            _kill_group(child)
        ready, _, _ = select.select([wakeup] if caller_gone else [wakeup, _STDIN], [], [], _bounded(deadline))
        caller_gone = caller_gone or _STDIN in ready
        timed_out = timed_out or time.monotonic() >= deadline
        if wakeup in ready:
            os.read(wakeup, 4096)
    _kill_group(child)  # what it may have started; the child itself is still unreaped, so its number is still its own
    _, status, usage = os.wait4(child, 0)
    if caller_gone:
        remove(Path(job.directory))
        sys.exit(0)
    unit = 1 if sys.platform == "darwin" else 1024
    exit_code = os.waitstatus_to_exitcode(status)
    _say(messages, Ended(exit_code=exit_code, timed_out=timed_out, peak_rss_bytes=usage.ru_maxrss * unit))


def _bounded(deadline: float) -> float:
    return min(1.0, max(0.05, deadline - time.monotonic()))


def _kill_group(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has not made its own group yet, or the group is gone
        os.kill(child, signal.SIGKILL)


def _become_conversion(job: Job, messages: int, server: int) -> None:
    """Runs in the fork, and never returns."""
    status = 1
    try:
        os.setsid()
        sandbox.die_with(server)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _confine_to(Path(job.directory))
        _import_trusted(job)
        confined = sandbox.confine(job.limits, [Path(job.source)], Path(job.directory))
        _convert(job, confined, messages)
        status = 0
    finally:
        os._exit(status)


def _import_trusted(job: Job) -> None:
    """Imports the settings' own layers while files beside this package can still be read; loading finds them imported."""
    for name in job.allowed_layers:
        with contextlib.suppress(Exception):  # loading tries again, and says why it fails
            importlib.import_module(name.rpartition(".")[0])


def _confine_to(directory: Path) -> None:
    scratch = directory / SCRATCH
    scratch.mkdir()
    os.chdir(scratch)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, _STDIN)
    os.dup2(log, _STDOUT)
    os.dup2(log, _STDERR)


def _convert(job: Job, confined: Sandbox, messages: int) -> None:
    from exporter.convert import run  # noqa: PLC0415  (already imported by the server)

    stage = Stage.LOAD

    def entered(entering: Stage) -> None:
        nonlocal stage
        stage = entering
        _say(messages, Entered(stage=entering))

    try:
        outcome = run.convert(job, entered).model_copy(update={"sandbox": confined}).model_dump_json()
    except ExportError as error:
        _log_traceback()
        outcome = Failed.of(error).model_dump_json()
    except Exception as error:  # noqa: BLE001  (whatever a stranger's model makes Keras raise is said to the caller)
        _log_traceback()
        failure = _out_of_memory(stage) if run.is_out_of_memory(error) else _unexpected(error, stage, job)
        outcome = Failed.of(failure).model_dump_json()
    (Path(job.directory) / OUTCOME).write_text(outcome, encoding="utf-8")


def _log_traceback() -> None:
    with contextlib.suppress(OSError):  # the log is as large as a file may be, and the outcome says the rest
        traceback.print_exc()
        sys.stderr.flush()


def _out_of_memory(stage: Stage) -> OutOfMemory:
    return OutOfMemory(
        "The conversion needs more memory than it may have.",
        hint="Raise the exporter's memory limit, or convert it where there is more and upload a SavedModel.",
        stage=stage,
    )


def _unexpected(error: Exception, stage: Stage, job: Job) -> ConversionFailed:
    text = (
        (str(error).strip().splitlines() or [""])[0].replace(job.directory + "/", "").replace(job.source, "the model")
    )
    return ConversionFailed(
        f"The model failed in stage '{stage}' with {type(error).__name__}: {text[:500]}",
        hint="Check that it loads and predicts where it was made, and save it again with the newest Keras 3.",
        stage=stage,
    )


def _say(messages: int, message: Ready | Broken | Entered | Ended) -> None:
    os.write(messages, message.model_dump_json().encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
