"""Circuit breakers: a server that failed several times in a row is not asked for a while, and callers are told so at once.

    closed → (failures in a row) → open → (time) → one probe → closed, or open again

Pure but for the clock. Each instance learns for itself; nothing is shared.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from deployer.errors import TryLater


@dataclass
class Breaker:
    """The breaker of one server. ``failures`` counts those since the last success; ``until`` is when the next probe may go."""

    what: str
    bound: int
    open_seconds: float
    monotonic: Callable[[], float]
    failures: int = 0
    until: float = 0.0

    def admit(self) -> None:
        """Lets a request pass: any while closed; while open, one probe after each ``open_seconds``.

        Raises:
            TryLater: ``breaker_open``.
        """
        if self.failures < self.bound:
            return
        left = self.until - self.monotonic()
        if left > 0:
            raise TryLater(
                "breaker_open", f"{self.what} failed {self.failures} times in a row and is not asked just now.",
                "Ask again after Retry-After; GET /api/models/NAME shows what goes on.", retry_after=math.ceil(left),
            )  # fmt: skip
        self.until = (
            self.monotonic() + self.open_seconds
        )  # the probe; one that is never heard of again lets another follow

    def succeeded(self) -> None:
        """The server answered."""
        self.failures = 0

    def failed(self) -> None:
        """The server did not answer, or with an error of its own."""
        self.failures += 1
        if self.failures >= self.bound:
            self.until = self.monotonic() + self.open_seconds


class Breakers:
    """One breaker for each server of each model; a server that is no longer asked is forgotten with the next."""

    def __init__(self, bound: int, open_seconds: float, monotonic: Callable[[], float]) -> None:
        self._bound = bound
        self._open_seconds = open_seconds
        self._monotonic = monotonic
        self._of: dict[str, dict[tuple[int, str], Breaker]] = {}

    def of(self, model: str, version: int, address: str) -> Breaker:
        """The breaker of the server of this version at this address."""
        known = self._of.setdefault(model, {})
        if (found := known.get((version, address))) is None:
            while len(known) >= 2:  # the version that serves and its canary
                del known[next(iter(known))]
            found = known[version, address] = Breaker(
                f"'{model}' v{version}", self._bound, self._open_seconds, self._monotonic
            )
        return found
