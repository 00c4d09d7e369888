"""The calling process's side of the converting one.

One ``python -m exporter.server`` is started when the first conversion asks for it. It imports TensorFlow once, and
forks for each conversion, so that a conversion starts at once and can affect neither the next nor the caller. It was
preferred to ``multiprocessing``'s forkserver because that hands its children the caller's whole environment, does not
tell the caller how a child ended or what it used, and is shared with whatever else in the caller uses it.

The server lives as long as the pipe to its standard input: when the caller ends, however it ends, the kernel closes the
pipe, and the server kills the conversion under way, removes its directory and exits. So nothing here depends on the
thread that starts the server; an Azure Functions worker's threads come and go. After ``IDLE_SECONDS`` without work the
server exits by itself and gives its half gigabyte back.

Conversions of one process take turns: two at once would each have half of the memory and the cores.
"""

import atexit
import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from exporter.errors import Stage, WorkerUnavailable
from exporter.job import MESSAGE, Broken, Ended, Entered, Job, Ready

IDLE_SECONDS = 900
START_SECONDS = 180.0
_REPORT_SECONDS = 30.0
"""How much longer than its wall clock a conversion's end may take to be reported."""
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT")
_LONGEST_LINE = 1 << 20


class Worker:
    """The converting process of this one, started when needed, ended with it or by ``close``."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._server: _Server | None = None

    def run(self, job: Job, on_stage: Callable[[Stage], None]) -> Ended:
        """Runs one conversion to its end, whatever that is; its outcome stands in the job's directory.

        Raises:
            WorkerUnavailable: the turn did not come in time, or the server cannot be started or went away.
        """
        if not self._turn.acquire(timeout=job.limits.turn_seconds):
            raise _unavailable("Another conversion has taken all of the time there was to wait.", code="busy")
        try:
            warm = self._server is not None
            try:
                server = self._ready_server()
                try:
                    return server.run(job, on_stage)
                except WorkerUnavailable:
                    if not warm or server.began:
                        raise
                    self._discard()  # it went to rest in the very moment that it was asked
                    return self._ready_server().run(job, on_stage)
            except BaseException:  # also the caller's own, from on_stage: the conversion must not go on unwatched
                self._discard()
                raise
        finally:
            self._turn.release()

    def close(self) -> None:
        """Ends the server and the conversion under way, if there are any. The next ``run`` starts a new one."""
        self._discard()

    def _ready_server(self) -> "_Server":
        if self._server is not None and self._server.alive():
            return self._server
        self._discard()
        self._server = _Server()
        self._server.await_ready()
        return self._server

    def _discard(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()


class _Server:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "exporter.server", "--idle-seconds", str(IDLE_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("Popen made no pipes")  # it always does when asked to; this is for the type checker
        self._jobs, self._messages = self._process.stdin, self._process.stdout
        self._buffer = b""
        self.began = False

    def alive(self) -> bool:
        return self._process.poll() is None

    def await_ready(self) -> None:
        match self._next_message(time.monotonic() + START_SECONDS):
            case Ready():
                return
            case Broken(reason=reason):
                raise _unavailable(f"The converting process cannot start: {reason}.", code="broken_worker")
            case message:
                raise _unavailable(f"The converting process began with '{message.event}'.", code="broken_worker")

    def run(self, job: Job, on_stage: Callable[[Stage], None]) -> Ended:
        deadline = time.monotonic() + job.limits.wall_seconds + _REPORT_SECONDS
        self.began = False
        try:
            self._jobs.write(job.model_dump_json().encode() + b"\n")
            self._jobs.flush()
        except OSError as error:
            raise _unavailable("The converting process went away.") from error
        while True:
            message = self._next_message(deadline)
            self.began = True
            match message:
                case Entered(stage=stage):
                    on_stage(stage)
                case Ended() as ended:
                    return ended
                case Ready() | Broken():
                    raise _unavailable(f"The converting process said '{message.event}' in the midst of a conversion.")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it may have closed its end first
            self._jobs.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)
        self._messages.close()  # last, so that another thread that reads from it has seen its end

    def _next_message(self, deadline: float) -> Ready | Broken | Entered | Ended:
        line = self._next_line(deadline)
        try:
            return MESSAGE.validate_json(line)
        except ValidationError as error:
            raise _unavailable(f"The converting process said what is no message: {line[:100]!r}.") from error

    def _next_line(self, deadline: float) -> bytes:
        descriptor = self._messages.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise _unavailable("The converting process did not answer in time.")
                chunk = os.read(descriptor, 1 << 16)
                if not chunk or len(self._buffer) > _LONGEST_LINE:
                    raise _unavailable("The converting process went away.")
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def environment() -> dict[str, str]:
    """All that the converting process sees of the caller's environment: no credential, no setting."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    own_parent = str(Path(__file__).resolve().parent.parent)
    return kept | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([own_parent, *(entry for entry in sys.path if entry)])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": os.devnull,  # else ~/.keras/keras.json would have a say in what a model computes
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # TensorFlow's own kernels on both sides of the comparison. oneDNN's compile themselves on first use, and its
        # allocator keeps whatever it once had.
        "TF_ENABLE_ONEDNN_OPTS": "0",
        # Large blocks go back when freed, instead of staying with the arena of whichever thread had them; smaller
        # thresholds fault every activation in anew.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_MMAP_THRESHOLD_": "8388608",
        "MALLOC_TRIM_THRESHOLD_": "16777216",
        "OPENBLAS_NUM_THREADS": "1",  # else NumPy starts threads on import, which no fork would have
    }


def _unavailable(message: str, *, code: str | None = None) -> WorkerUnavailable:
    hint = "Nothing is wrong with the model as far as is known; try again."
    return WorkerUnavailable(message, hint=hint, stage=Stage.LOAD, code=code)


WORKER = Worker()
atexit.register(WORKER.close)
