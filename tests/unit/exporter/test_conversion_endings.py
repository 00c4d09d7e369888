"""How a conversion's process ended tells what went wrong, and whether trying again can help."""

import signal

import pytest

from exporter import Crashed, ExportError, Limits, OutOfMemory, Stage, TimedOut
from exporter.endings import error_of
from exporter.job import Ended


@pytest.mark.parametrize(
    ("exit_code", "timed_out", "log", "kind", "permanent"),
    [
        (-signal.SIGKILL, True, "", TimedOut, False),
        (-signal.SIGXCPU, False, "", TimedOut, True),
        (-signal.SIGKILL, False, "", OutOfMemory, False),
        (-signal.SIGABRT, False, "terminate called after throwing an instance of 'std::bad_alloc'", OutOfMemory, True),
        (-signal.SIGSEGV, False, "Cannot allocate memory", OutOfMemory, True),
        (-signal.SIGABRT, False, "Check failed: shape.ok()", Crashed, True),
        (-signal.SIGSEGV, False, "", Crashed, True),
        (1, False, "Traceback", Crashed, True),
    ],
)
def test_an_end_is_classified(
    exit_code: int, timed_out: bool, log: str, kind: type[ExportError], permanent: bool
) -> None:
    ended = Ended(exit_code=exit_code, timed_out=timed_out, peak_rss_bytes=1)
    error = error_of(ended, Limits(), Stage.TRACE, log)
    assert (type(error), error.permanent, error.stage) == (kind, permanent, Stage.TRACE)


def test_the_signal_of_a_crash_is_named() -> None:
    ended = Ended(exit_code=-signal.SIGSEGV, timed_out=False, peak_rss_bytes=1)
    assert "SIGSEGV" in error_of(ended, Limits(), Stage.LOAD, "").message


def test_the_limit_that_was_reached_is_named() -> None:
    ended = Ended(exit_code=-signal.SIGKILL, timed_out=True, peak_rss_bytes=1)
    assert "longer than the 7.5 seconds" in error_of(ended, Limits(wall_seconds=7.5), Stage.LOAD, "").message


@pytest.mark.parametrize(("held", "kind"), [(950, OutOfMemory), (500, Crashed)])
def test_a_crash_near_the_memory_limit_is_told_as_a_lack_of_memory(held: int, kind: type[ExportError]) -> None:
    ended = Ended(exit_code=-signal.SIGSEGV, timed_out=False, peak_rss_bytes=held)
    assert type(error_of(ended, Limits(memory_bytes=1000), Stage.WRITE, "")) is kind
