"""Looks at something outside the process, shared by all who want one: at most one is under way for each key."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_MOST = 1000  # keys that are remembered


@dataclass(frozen=True)
class Seen(Generic[T]):
    """What a look saw that began ``at`` this time (monotonic)."""

    what: T
    at: float


@dataclass(frozen=True)
class _UnderWay(Generic[T]):
    task: asyncio.Task[T]
    began: float


class Looks(Generic[K, T]):
    """For one event loop. ``look`` sees what there is at a key now."""

    def __init__(self, look: Callable[[K], Awaitable[T]], monotonic: Callable[[], float]) -> None:
        self._look = look
        self._monotonic = monotonic
        self._seen: dict[K, Seen[T]] = {}
        self._under_way: dict[K, _UnderWay[T]] = {}

    def last(self, key: K) -> Seen[T] | None:
        """What was seen last, if that is remembered."""
        return self._seen.get(key)

    def begin(self, key: K) -> asyncio.Task[T]:
        """The look under way; begins one if there is none. Shield it: it is not the caller's alone."""
        return self._begun(key).task

    async def since(self, key: K, moment: float) -> T:
        """What a look sees that begins at ``moment`` (monotonic) or later, or saw. Raises what that look raises."""
        while (seen := self._seen.get(key)) is None or seen.at < moment:
            under_way = self._begun(key)
            if under_way.began >= moment:
                return await asyncio.shield(under_way.task)
            await asyncio.wait([under_way.task])  # it may not have seen what has changed since
        return seen.what

    def forget(self, key: K) -> None:
        """Does not remember what was seen there."""
        self._seen.pop(key, None)

    @property
    def busy(self) -> bool:
        """Whether a look is under way."""
        return bool(self._under_way)

    def _begun(self, key: K) -> _UnderWay[T]:
        if (found := self._under_way.get(key)) is None:
            began = self._monotonic()
            task = asyncio.create_task(self._made(key, began))
            found = self._under_way[key] = _UnderWay(task, began)
            task.add_done_callback(_retrieved)
        return found

    async def _made(self, key: K, began: float) -> T:
        try:
            what = await self._look(key)
        finally:
            del self._under_way[key]
        if len(self._seen) >= _MOST:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = Seen(what, began)
        return what


def _retrieved(task: asyncio.Task[T]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited has it; a look that nobody waited for is made again
