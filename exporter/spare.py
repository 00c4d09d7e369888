"""Processes of one program that answer one request each, and the next of them started ahead.

To start Python and import takes longer than what is asked of it. So once a second request has come, a process waits for
the next one, with its imports done; no process is used twice. It ends with this one, or when nothing has come for long.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

_END_SECONDS = 5.0


class Spare:
    """Runs ``python PROGRAM`` for each request."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._waiting: _Process | None = None
        self._asked = False

    def ask(
        self, request: Mapping[str, Any], file: BinaryIO, *, environment: dict[str, str], seconds: float
    ) -> tuple[int, bytes]:
        """The exit status and output of a process that got the request and, as its standard input, the file.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was ended.
        """
        status, output = -1, b""
        waiting = self._taken()
        if waiting is not None:
            status, output = waiting.answer(request, file, seconds)
        if (
            status != 0 or not output
        ):  # none waited, or it went to rest meanwhile, or what it says of itself is judged anew
            status, output = _Process(self._program, environment).answer(request, file, seconds)
        self._keep(environment)
        return status, output

    @property
    def waiting(self) -> int | None:
        """The number of the process that waits, if one does."""
        with self._lock:
            return self._waiting.number if self._waiting else None

    def close(self) -> None:
        """Ends the process that waits, if one does."""
        waiting = self._taken()
        if waiting is not None:
            waiting.end()

    def _taken(self) -> "_Process | None":
        with self._lock:
            waiting, self._waiting = self._waiting, None
        return waiting

    def _keep(self, environment: dict[str, str]) -> None:
        """Starts the next, unless this was the first request, after which no other may come."""
        with self._lock:
            if self._asked and self._waiting is None:
                self._waiting = _Process(self._program, environment)
            self._asked = True


class _Process:
    def __init__(self, program: Path, environment: dict[str, str]) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(program)],
                stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            )  # fmt: skip

    @property
    def number(self) -> int:
        return self._process.pid

    def answer(self, request: Mapping[str, Any], file: BinaryIO, seconds: float) -> tuple[int, bytes]:
        try:
            with contextlib.suppress(ConnectionError):  # it is gone; its status and output say so
                socket.send_fds(self._channel, [json.dumps(request).encode()], [file.fileno()])
            output, _ = self._process.communicate(timeout=seconds)
            return self._process.returncode, output
        finally:
            self.end()

    def end(self) -> None:
        self._channel.close()
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=_END_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
