"""Why a conversion ended without an outcome, by how its process ended. Pure; ``exporting`` raises what it says."""

import signal

from exporter.errors import Crashed, ExportError, OutOfMemory, Stage, TimedOut
from exporter.job import Ended
from exporter.limits import Limits

_OUT_OF_MEMORY = ("bad_alloc", "annot allocate", "pthread_create() failed")
"""How C++ code says that the address space is used up, before it aborts."""


_NEARLY = 0.9


def error_of(ended: Ended, limits: Limits, stage: Stage, log: str) -> ExportError:
    """The error that a conversion's abnormal end stands for; ``log`` is the end of what it wrote.

    What the limits ended repeats itself, except for the wall clock's, as the machine may have been busy; what was killed
    from outside may do better another time.
    """
    if ended.timed_out:
        return TimedOut(
            f"The conversion took longer than the {limits.wall_seconds:g} seconds that it may.",
            hint="Raise the exporter's wall clock limit, or upload a SavedModel made where there is more time.",
            stage=stage,
        )
    match -ended.exit_code:
        case signal.SIGXCPU:
            return TimedOut(
                f"The conversion took more than the {limits.cpu_seconds} seconds of processor time that it may.",
                hint="Raise the exporter's processor time limit, or upload a SavedModel made elsewhere.",
                stage=stage,
                code="out_of_cpu_time",
                permanent=True,
            )
        case signal.SIGABRT | signal.SIGSEGV | signal.SIGBUS if _lacked_memory(ended, limits, log):
            return _out_of_memory("The conversion needs more memory than it may have.", stage, permanent=True)
        case signal.SIGKILL:
            return _out_of_memory(
                "The conversion was killed from outside, as Linux does when memory runs out.", stage, permanent=False
            )
        case number if number > 0:
            return crashed(f"was ended by {signal.Signals(number).name}", stage)
        case _:
            return crashed(f"exited with status {ended.exit_code}", stage)


def _lacked_memory(ended: Ended, limits: Limits, log: str) -> bool:
    """Whether it said so, or held nearly all that it may have: C++ code that does not check then takes a null pointer."""
    return any(sign in log for sign in _OUT_OF_MEMORY) or ended.peak_rss_bytes >= _NEARLY * limits.memory_bytes


def _out_of_memory(message: str, stage: Stage, *, permanent: bool) -> OutOfMemory:
    return OutOfMemory(
        message,
        hint="Convert it where there is more memory, or raise the exporter's memory limit.",
        stage=stage,
        permanent=permanent,
    )


def crashed(how: str, stage: Stage) -> Crashed:
    """The error of a conversion whose end has no better name; ``how`` follows "The converting process"."""
    return Crashed(
        f"The converting process {how}.",
        hint="The model makes TensorFlow itself fail: check that it loads and predicts where it was made.",
        stage=stage,
    )
