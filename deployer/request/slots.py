"""What is under way in this instance: requests of each model, and bytes of all; bounded, so that neither grows unseen."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from deployer.errors import TryLater

_RETRY_SECONDS = 1


class Slots:
    """At most ``most`` requests of a model at once. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def full(self, model: str) -> bool:
        """Whether no slot is free."""
        return self._taken[model] >= self._most

    @contextmanager
    def one(self, model: str) -> Iterator[None]:
        """Holds one slot for the block.

        Raises:
            TryLater: ``too_many_requests``, at once, where none is free.
        """
        if self.full(model):
            raise TryLater(
                "too_many_requests", f"'{model}' has {self._most} requests under way here, and more are not queued.",
                "Ask again after Retry-After, more replicas serve more, or raise SLIPWAY_PROXY__MAX_CONCURRENT.",
                status=HTTPStatus.TOO_MANY_REQUESTS, retry_after=_RETRY_SECONDS,
            )  # fmt: skip
        self._taken[model] += 1
        try:
            yield
        finally:
            self._taken[model] -= 1


class Bodies:
    """At most ``most`` bytes of request bodies at once. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def one(self, size: int) -> Iterator[None]:
        """Holds a body for the block.

        Raises:
            TryLater: ``too_many_bytes``, at once, where there is no room for it.
        """
        if self._held + size > self._most:
            raise TryLater(
                "too_many_bytes", f"{self._held} bytes of requests are under way here, {size} more would be too many.",
                "Ask again after Retry-After, send smaller images, or raise SLIPWAY_PROXY__MAX_IN_FLIGHT_MB.",
                status=HTTPStatus.TOO_MANY_REQUESTS, retry_after=_RETRY_SECONDS,
            )  # fmt: skip
        self._held += size
        try:
            yield
        finally:
            self._held -= size
