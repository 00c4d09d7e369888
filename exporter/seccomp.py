"""A filter of system calls, by which this process gives up the network, new processes and its hold on other ones.

Needs no privilege and no other package: the kernel takes a small program (classic BPF, ``man 2 seccomp``) that judges
each call by its number and arguments, and keeps to it in all threads started afterwards. A call that is denied fails with
EPERM, as a firewall's would, so that TensorFlow or Python say what was tried. Threads stay possible: they are what a
``clone`` with CLONE_THREAD makes; ``clone3`` hides its flags behind a pointer, so it is not there, and libc uses ``clone``.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from dataclasses import dataclass

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # in struct seccomp_data; both architectures are little-endian
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000


@dataclass(frozen=True)
class _Calls:
    """The numbers of an architecture's system calls."""

    architecture: int
    denied: tuple[int, ...]
    """socket, io_uring_setup · fork, vfork, execve, execveat · ptrace, process_vm_readv, process_vm_writev, tkill,
    rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal, pidfd_getfd"""
    clone: int
    clone3: int
    of_own_process_only: tuple[int, ...]
    """kill, tgkill"""


_CALLS = {
    "x86_64": _Calls(
        0xC000003E, (41, 425, 57, 58, 59, 322, 101, 310, 311, 200, 129, 297, 424, 438), 56, 435, (62, 234)
    ),
    "aarch64": _Calls(0xC00000B7, (198, 425, 221, 281, 117, 270, 271, 130, 138, 240, 424, 438), 220, 435, (129, 131)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def deny() -> bool:
    """Installs the filter for this process, for good; False where the kernel or the architecture has none.

    To be called while there is but one thread, as others that are running would not be judged.
    """
    calls = _CALLS.get(platform.machine())
    if sys.platform != "linux" or calls is None or struct.calcsize("P") != 8:
        return False
    instructions = _instructions(calls, os.getpid())
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _instructions(calls: _Calls, own_process: int) -> bytes:
    denied, missing = _FAIL | errno.EPERM, _FAIL | errno.ENOSYS
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        *_unless(_JUMP_EQUAL, calls.architecture, denied),
        _instruction(_LOAD, _NUMBER),
        *_when(_JUMP_FROM, _X32, missing),  # x86-64's second set of numbers
        *_when(_JUMP_EQUAL, calls.clone3, missing),
    ]
    for number in calls.denied:
        program += _when(_JUMP_EQUAL, number, denied)
    for number, test, operand in (
        (calls.clone, _JUMP_BITS, _CLONE_THREAD),
        *((number, _JUMP_EQUAL, own_process) for number in calls.of_own_process_only),
    ):
        judged = [_instruction(_LOAD, _FIRST_ARGUMENT), *_unless(test, operand, denied), _instruction(_RETURN, _ALLOW)]
        program += [_instruction(_JUMP_EQUAL, number, no=len(judged)), *judged]
    return b"".join([*program, _instruction(_RETURN, _ALLOW)])


def _when(test: int, operand: int, answer: int) -> list[bytes]:
    return [_instruction(test, operand, no=1), _instruction(_RETURN, answer)]


def _unless(test: int, operand: int, answer: int) -> list[bytes]:
    return [_instruction(test, operand, yes=1), _instruction(_RETURN, answer)]


def _instruction(code: int, operand: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, operand)
