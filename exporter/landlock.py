"""Confinement to a few paths by Linux's Landlock, which needs no privilege and holds for root as well.

Besides files, a confined process can no longer look into processes that are not: the caller's environment, in /proc, is
closed to it. Asked for from Landlock's second version on (Linux 5.19), as the first forbids moving a file from one
directory to another, which is how TensorFlow finishes a checkpoint.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION, _PATH_BENEATH, _PR_SET_NO_NEW_PRIVS = 1, 1, 38
_WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _READ_FILE | _READ_DIR
_ALL_OF_VERSION_2 = (1 << 14) - 1
_FORBIDDEN = 1 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
"""Everywhere: to execute, and to make devices, sockets, pipes and symbolic links, which a reader might follow or wait on."""


def confine(readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    """Leaves this process nothing but to read below ``readable`` and all below ``writable``; False where it cannot be.

    Paths that are not there or out of its reach are passed over. Nothing can be executed any more, and only files and
    directories be made.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION)
    if version < 2:
        return False
    everything = _ALL_OF_VERSION_2 | (_TRUNCATE if version >= 3 else 0)
    ruleset = libc.syscall(_CREATE_RULESET, struct.pack("=Q", everything), 8, 0)
    if ruleset < 0:
        return False
    try:
        allowed = all(_allow(libc, ruleset, path, _READ) for path in readable)
        allowed = allowed and all(_allow(libc, ruleset, path, everything & ~_FORBIDDEN) for path in writable)
        return bool(
            allowed
            and libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            and libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0
        )
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> bool:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return True
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & _OF_FILES, descriptor)
        return bool(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0) == 0)
    finally:
        os.close(descriptor)
