"""The part of loopback that one local cloud has to itself: 127.A.B.0/24, for nodes, pods and Services.

Linux answers on all of 127.0.0.0/8, so that each pod and each Service can have an address of its own and listen on its
true port. A listening socket on 127.A.B.1 holds the claim for as long as the process lives.
"""

import contextlib
import random
import socket

_CLAIM_PORT = 10256
_ATTEMPTS = 64


class LoopbackUnavailableError(Exception):
    """No usable part of loopback; the message says why and what to do."""


class AddressPool:
    """Addresses given out in turn, so that a released one is not soon another's."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._used: set[str] = set()
        self._next = 0

    def allocate(self) -> str:
        """A free address. Raises `LoopbackUnavailableError` where all are taken."""
        for offset in range(len(self._addresses)):
            index = (self._next + offset) % len(self._addresses)
            if self._addresses[index] not in self._used:
                self._next = index + 1
                self._used.add(self._addresses[index])
                return self._addresses[index]
        raise LoopbackUnavailableError(
            f"All {len(self._addresses)} addresses from {self._addresses[0]} on are in use: delete pods or Services."
        )

    def reserve(self, address: str) -> bool:
        """Takes this very address; False where it is taken or not of this pool."""
        if address in self._used or address not in self._addresses:
            return False
        self._used.add(address)
        return True

    def release(self, address: str) -> None:
        """Gives an address back."""
        self._used.discard(address)


class LoopbackRange:
    """A claimed 127.A.B.0/24: ``.2``-``.9`` nodes, ``.10``-``.127`` pods, ``.128``-``.254`` Services."""

    def __init__(self, prefix: str, claim: socket.socket) -> None:
        self.prefix = prefix
        self._claim = claim
        self.nodes = AddressPool([f"{prefix}.{last}" for last in range(2, 10)])
        self.pods = AddressPool([f"{prefix}.{last}" for last in range(10, 128)])
        self.services = AddressPool([f"{prefix}.{last}" for last in range(128, 255)])

    @classmethod
    def claim(cls, prefix: str | None) -> "LoopbackRange":
        """Claims ``prefix`` (kept from an earlier run) or a free one. Raises `LoopbackUnavailableError`."""
        if prefix is not None:
            try:
                return cls(prefix, _hold(prefix))
            except OSError as error:
                raise LoopbackUnavailableError(
                    f"The address range {prefix}.0/24 of this data folder is not available ({error.strerror}). Is "
                    "another local cloud running on the same folder? End it, or use another --data folder."
                ) from error
        failure: OSError | None = None
        for _ in range(_ATTEMPTS):
            candidate = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}"  # noqa: S311  (not a secret)
            try:
                return cls(candidate, _hold(candidate))
            except OSError as error:
                failure = error
        raise LoopbackUnavailableError(
            "The AKS stand-in gives pods and Services loopback addresses of their own, and this machine does not let "
            f"it listen on any that was tried ({failure.strerror if failure else 'unknown error'}). Linux has them "
            "all; on macOS they must be added to lo0 first, or run the local cloud in a Linux container."
        ) from failure

    def close(self) -> None:
        """Gives up the claim."""
        self._claim.close()


def _hold(prefix: str) -> socket.socket:
    with contextlib.ExitStack() as undo:
        held = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((f"{prefix}.1", _CLAIM_PORT))
        held.listen(1)
        undo.pop_all()
    return held
