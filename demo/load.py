"""A steady stream of requests: one every so often, whether or not those before have been answered."""

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from demo.client import Client
from demo.digits import Digit, png

_LAST_ANSWERS_SECONDS = 90.0


@dataclass(frozen=True)
class Outcome:
    """What became of one request. ``version`` None: it failed, and ``failure`` says how."""

    version: int | None
    right: bool
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class Tally:
    """What became of all requests so far."""

    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those without an answer."""
        return tuple(outcome for outcome in self.outcomes if outcome.version is None)

    @property
    def longest(self) -> float:
        """Seconds that the request waited that waited longest."""
        return max((outcome.seconds for outcome in self.outcomes), default=0.0)

    @property
    def median(self) -> float:
        """Seconds that the request in the middle waited."""
        ordered = sorted(outcome.seconds for outcome in self.outcomes)
        return ordered[len(ordered) // 2] if ordered else 0.0

    def by(self, version: int) -> int:
        """How many a version answered."""
        return sum(outcome.version == version for outcome in self.outcomes)


class SteadyStream:
    """Asks ``per_second`` times a second, in an asynchronous context; its end awaits the last answers."""

    def __init__(self, client: Client, model: str, digits: Sequence[Digit], *, per_second: float) -> None:
        self._client = client
        self._model = model
        self._digits = digits
        self._interval = 1 / per_second
        self._outcomes: list[Outcome] = []
        self._asked: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None

    @property
    def tally(self) -> Tally:
        """What became of the requests answered so far."""
        return Tally(tuple(self._outcomes))

    async def __aenter__(self) -> Self:
        """Begins."""
        self._asking = asyncio.create_task(self._ask_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Asks no more; awaits the answers that are due, unless something went wrong."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking
        if error is None and self._asked:
            _, late = await asyncio.wait(self._asked, timeout=_LAST_ANSWERS_SECONDS)
            self._outcomes.extend(Outcome(None, False, _LAST_ANSWERS_SECONDS, "no answer came") for _ in late)
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def _ask_on(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for digit in itertools.cycle(self._digits):
            task = asyncio.create_task(self._ask(digit))
            self._asked.add(task)
            task.add_done_callback(self._asked.discard)
            due += self._interval
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _ask(self, digit: Digit) -> None:
        try:
            answer = await self._client.classify(self._model, png(digit))
        except (aiohttp.ClientError, TimeoutError) as error:
            self._outcomes.append(Outcome(None, False, 0.0, repr(error)))
            return
        if answer.status == 200:
            self._outcomes.append(Outcome(answer.version, answer.best == digit.name, answer.seconds))
        else:
            self._outcomes.append(Outcome(None, False, answer.seconds, f"{answer.status}: {answer.best}"))
