"""What a process does to itself before it touches a stranger's model. Linux enforces all of it, others a part."""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

from exporter import capabilities, landlock, seccomp
from exporter.limits import Limits
from exporter.manifest import Sandbox

_PR_SET_PDEATHSIG = 1
_SYSTEM = tuple(
    map(Path, ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev/urandom", "/etc/ld.so.cache", "/etc/localtime"))
)


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when ``parent``, which just forked it, ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the request was made
        os._exit(1)


def confine(limits: Limits, readable: Iterable[Path], directory: Path) -> Sandbox:
    """Gives up what a conversion has no use for, for good; says what the kernel let it give up.

    Of files there remain this interpreter, the system's libraries, what is below ``readable`` and, to write to as well,
    ``directory``. To be called while the process has one thread.
    """
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, grace=5)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(resource.RLIMIT_NOFILE, limits.open_files)
    _limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":  # elsewhere the kernel does not keep to it
        _limit(resource.RLIMIT_AS, _address_space() + limits.memory_bytes)
        capabilities.drop()
    files = landlock.confine([*interpreter(), *readable], [directory, Path(os.devnull)])
    calls = seccomp.deny()
    return Sandbox(
        network="none" if calls else "reachable",
        processes="none" if calls else "possible",
        files="confined" if files else "reachable",
    )


def interpreter() -> list[Path]:
    """Where Python and its packages find what they load late; not what else lies beside this package."""
    package = Path(__file__).resolve().parent
    found = [Path(entry).resolve() for entry in (sys.prefix, sys.base_prefix, *sys.path) if entry]
    return [package, *(path for path in found if path not in package.parents), *_SYSTEM]


def _limit(kind: int, value: int, *, grace: int = 0) -> None:
    _, hard = resource.getrlimit(kind)
    ceiling = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
    resource.setrlimit(kind, (min(value, ceiling), ceiling))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
