"""The privileges of root, given up for good, as ``man 7 capabilities`` has them."""

import ctypes
import struct
import sys

_VERSION_3 = 0x20080522


def drop() -> None:
    """Leaves root in name only: else it could look into other processes (CAP_PERFMON) and raise its limits again.

    Raises:
        OSError: the kernel does not let it, which it does any process.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(struct.pack("=Ii", _VERSION_3, 0), bytes(24)) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities cannot be dropped")
