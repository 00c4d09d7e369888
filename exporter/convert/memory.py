"""Memory that was freed, given back to the system."""

import contextlib
import ctypes


def give_back() -> None:
    """Asks glibc for what it keeps of freed memory; other libraries of C keep to their own ways.

    The arena in which a model's weights were is not the one that the servable's come to, as other threads load those.
    """
    with contextlib.suppress(AttributeError):  # musl and macOS have no such function
        ctypes.CDLL(None).malloc_trim(0)
