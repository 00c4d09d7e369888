"""What the proxy saw of each version while a canary is on trial, noted in storage at most once per window.

Each instance keeps a document of its own, ``figures/NAME/VERSION/INSTANCE``: requests and errors by minute, so that a trial
reads what is of its time and no other's. Nothing is counted while no version is on trial, and no request waits for storage.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable
from datetime import datetime

from pydantic import Field, ValidationError

from deployer.canary import Figures
from deployer.errors import SlipwayError
from deployer.ports import Clock, Documents
from deployer.record import Route
from deployer.timeline import Document

log = logging.getLogger(__name__)

_ROOT = "figures"
_MINUTES = 1500  # kept: the longest trial and a little


class Tally(Document):
    """One instance's counts of one version: requests and errors by minute since 1970."""

    minutes: dict[int, tuple[int, int]] = Field(default_factory=dict)

    def since(self, moment: datetime) -> Figures:
        """The sum from the minute of this moment on."""
        found = [counts for minute, counts in self.minutes.items() if minute >= _minute(moment)]
        return Figures(sum(requests for requests, _ in found), sum(errors for _, errors in found))


class FigureNotes:
    """The counts of this instance. For one event loop."""

    def __init__(
        self, documents: Documents, window_seconds: float, clock: Clock, monotonic: Callable[[], float]
    ) -> None:
        self._documents = documents
        self._window = window_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._instance = uuid.uuid4().hex[:12]
        self._counts: dict[tuple[str, int], dict[int, tuple[int, int]]] = {}
        self._written: dict[tuple[str, int], float] = {}
        self._pending: dict[tuple[str, int], asyncio.Task[None]] = {}

    def note(self, model: str, route: Route | None, version: int, *, error: bool) -> None:
        """Notes how a request that was sent to this version along this route ended. Costs no storage call itself."""
        if route is None or route.canary is None:
            return
        key = (model, version)
        counts, minute = self._counts.setdefault(key, {}), _minute(self._clock())
        requests, errors = counts.get(minute, (0, 0))
        counts[minute] = (requests + 1, errors + error)
        if len(counts) > _MINUTES:
            del counts[min(counts)]
        if key not in self._pending:
            wait = self._written.get(key, -self._window) + self._window - self._monotonic()
            self._pending[key] = asyncio.create_task(self._write(key, max(0.0, wait)))

    async def written(self) -> None:
        """Returns when what has been noted so far is stored."""
        await asyncio.gather(*self._pending.values())

    async def _write(self, key: tuple[str, int], wait: float) -> None:
        model, version = key
        try:
            await asyncio.sleep(wait)
            self._written[key] = self._monotonic()
            data = Tally(minutes=self._counts[key]).model_dump_json().encode()
            await asyncio.to_thread(self._documents.put, f"{_ROOT}/{model}/{version}/{self._instance}", data)
        except SlipwayError as error:
            log.warning("figures of '%s' v%s were not noted: %s", model, version, error.message)
        finally:
            del self._pending[key]


def figures_of(documents: Documents, model: str, since: datetime) -> dict[int, Figures]:
    """What all instances saw of each of the model's versions since then: one listing, and one read per instance and version."""
    found: dict[int, Figures] = {}
    for blob in documents.listing(f"{_ROOT}/{model}/"):
        version, _, _ = blob.name.removeprefix(f"{_ROOT}/{model}/").partition("/")
        stored = documents.read(blob.name)
        if stored is None or not version.isdecimal():
            continue
        try:
            seen = Tally.model_validate_json(stored.data).since(since)
        except ValidationError as error:
            log.warning("'%s' cannot be read: %s", blob.name, error)
            continue
        before = found.get(int(version), Figures())
        found[int(version)] = Figures(before.requests + seen.requests, before.errors + seen.errors)
    return found


def forget_figures(documents: Documents, model: str) -> None:
    """Removes what was noted of a model's earlier trials."""
    for blob in list(documents.listing(f"{_ROOT}/{model}/")):
        documents.remove(blob.name)


def _minute(moment: datetime) -> int:
    return int(moment.timestamp() // 60)
