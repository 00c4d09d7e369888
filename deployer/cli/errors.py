"""What the command line says when it cannot do what was asked, and the exit status that goes with it.

    CliError              exit   when
    ├── Failed            1      it was tried and failed: a model was refused, an image could not be read
    ├── Usage             2      the command cannot be meant: no such file, a name that cannot be one
    ├── Unreachable       3      there is no Slipway to talk to, or it does not let the caller in
    ├── NotFound          4      no such model
    └── NotInTime         5      it goes on, but not within the time given; models that wake included

Documented for users in docs/reference/cli.md. 0 is success, 130 an interrupt (Ctrl-C).
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The exit statuses of ``slipway``."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    NOT_IN_TIME = 5
    INTERRUPTED = 130


class CliError(Exception):
    """What happened (``message``), what to do next (``hint``), a stable ``code``, and ``details`` for programs."""

    exit_code = ExitCode.FAILED

    def __init__(self, code: str, message: str, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details: Mapping[str, Any] = details

    def body(self) -> dict[str, Any]:
        """The error in the shape of the HTTP API."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint, **self.details}}


class Failed(CliError):
    """It was tried and failed."""


class Usage(CliError):
    """The command cannot be meant."""

    exit_code = ExitCode.USAGE


class Unreachable(CliError):
    """There is no Slipway to talk to, or it does not let the caller in."""

    exit_code = ExitCode.UNREACHABLE


class NotFound(CliError):
    """No such model."""

    exit_code = ExitCode.NOT_FOUND


class NotInTime(CliError):
    """It goes on, but not within the time given."""

    exit_code = ExitCode.NOT_IN_TIME


class Waking(NotInTime):
    """The model sleeps and is being woken; ask again after ``retry_after`` seconds."""

    def __init__(self, code: str, message: str, hint: str, *, retry_after: float, **details: Any) -> None:
        super().__init__(code, message, hint, **details)
        self.retry_after = retry_after
