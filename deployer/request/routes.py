"""Which version answers a request, and where: the record's route, known for a few seconds, never a version that is not proven.

Only the rollout writes a route, and only of a version that answered its golden request. A record that has grown old is used
for as long again while storage is asked in the background, so that no request waits for storage while a model serves.
"""

import asyncio
import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from deployer.errors import BadRequest, NotFound, SlipwayError, TryLater
from deployer.names import is_model_name
from deployer.record import ModelRecord, Route
from deployer.request.looks import Looks
from deployer.request.parse import Wanted
from deployer.settings import ProxySettings
from deployer.state import State
from deployer.waking import Waker

LOOK_SECONDS = 0.5  # between two looks at the record of a model that is on its way, or whose next version is


@dataclass(frozen=True)
class Target:
    """A proven version and the server that runs it; ``bridge``: a replica on CPU in the place of one that is on its way."""

    version: int
    address: str
    bridge: bool = False


class Routes:
    """The routes of all models, as this instance knows them. For one event loop."""

    def __init__(
        self, state: State, waker: Waker, settings: ProxySettings, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._state = state
        self._waker = waker
        self._settings = settings
        self._monotonic = monotonic
        self._records = Looks(self._read, monotonic)
        self._held = 0

    async def record(self, model: str, *, since: float | None = None) -> ModelRecord:
        """The model's record, a few seconds old at most; ``since``: as it was at this time (monotonic) or later.

        Raises:
            NotFound: ``unknown_model``.
        """
        known = self._records.last(model)
        if known is not None and since is None:
            age, limit = self._monotonic() - known.at, self._settings.route_cache_seconds
            if age < (min(limit, LOOK_SECONDS) if _moving(known.what) else limit):
                return known.what
            if age < 2 * limit:
                self._records.begin(model)
                return known.what
        if not is_model_name(model):
            raise NotFound(
                "unknown_model", f"'{model[:60]}' is no name of a model.", "GET /api/models lists those there are."
            )
        if since is not None:
            return await self._records.since(model, since)
        return await asyncio.shield(self._records.begin(model))

    async def target(
        self, model: str, wanted: Wanted, deadline: float, *, since: float | None = None, bridges: bool = True
    ) -> tuple[ModelRecord, Target]:
        """The record and the server to ask; wakes a sleeping model, and waits until ``deadline`` (of the monotonic clock).

        With ``bridges`` its replica on CPU, if it has a proven one, is asked meanwhile.

        Raises:
            NotFound: no such model or version, or none that ever served.
            BadRequest: ``version_not_running``.
            Waking: it sleeps, or its first version is on the way, and the deadline has passed.
        """
        record = await self.record(model, since=since)
        if record.route is None:
            bridge = record.bridge
            if bridges and bridge and bridge.address and wanted.version in (None, bridge.version):
                if record.asleep:
                    record = await asyncio.to_thread(self._waker.wake, model, by="request")
                return record, Target(bridge.version, bridge.address, bridge=True)
            record = await self._awake(record, wanted, deadline)
        assert record.route is not None  # noqa: S101  (what _awake returns)
        return record, _chosen(record, record.route, wanted)

    def serving(self, record: ModelRecord, wanted: Wanted) -> Target:
        """The server to ask, for a question that is not worth a wake.

        Raises:
            TryLater: ``asleep``.
        """
        if record.route is None:
            raise TryLater(
                "asleep", f"'{record.name}' does not run.", "A prediction wakes it; this question does not.",
                retry_after=None,
            )  # fmt: skip
        return _chosen(record, record.route, wanted)

    async def _awake(self, record: ModelRecord, wanted: Wanted, deadline: float) -> ModelRecord:
        if wanted.version is not None and wanted.version != record.desired:
            raise _not_running(record, wanted.version)
        may_wait = self._held < self._settings.max_held
        self._held += 1
        try:
            while record.route is None:
                if record.asleep:
                    record = await asyncio.to_thread(self._waker.wake, record.name, by="request")
                elif record.settled and not record.arriving:
                    raise _never_served(record)
                if not may_wait or self._monotonic() >= deadline:
                    raise await asyncio.to_thread(self._waker.estimate, record)
                await asyncio.sleep(LOOK_SECONDS)
                record = await self.record(record.name, since=self._monotonic() - LOOK_SECONDS)
        finally:
            self._held -= 1
        return record

    async def _read(self, model: str) -> ModelRecord:
        try:
            return await asyncio.to_thread(self._state.model, model)
        except NotFound:
            self._records.forget(model)
            raise


def _moving(record: ModelRecord) -> bool:
    """Whether its route may change any moment."""
    return record.rollout is not None and record.setback is None


def _chosen(record: ModelRecord, route: Route, wanted: Wanted) -> Target:
    canary = route.canary
    stable = Target(route.version, route.address)
    if wanted.version is not None:
        if canary is not None and wanted.version == canary.version:
            return Target(canary.version, canary.address)
        if wanted.version != route.version:
            raise _not_running(record, wanted.version)
        return stable
    if canary is not None and not wanted.stable and _draw(record.name, canary.version, wanted.session) < canary.share:
        return Target(canary.version, canary.address)
    return stable


def beside(record: ModelRecord, target: Target, wanted: Wanted) -> Target | None:
    """The version that serves, for a request that the one on trial beside it fails; None where the caller named the latter."""
    route = record.route
    if wanted.version is not None or route is None or route.canary is None:
        return None
    on_trial = Target(route.canary.version, route.canary.address)
    return Target(route.version, route.address) if target == on_trial else None


def _draw(model: str, canary: int, session: str | None) -> float:
    """A percentage from 0 to below 100: at random, or always the same for one session, canary and model."""
    if session is None:
        return random.random() * 100  # noqa: S311  (no secret)
    digest = hashlib.blake2b(f"{model}/{canary}/{session}".encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * 100


def _not_running(record: ModelRecord, version: int) -> SlipwayError:
    if not record.has(version):
        return NotFound(
            "unknown_version", f"'{record.name}' has no version {version}.", "GET /api/models/NAME lists its versions."
        )
    route = record.route
    running = [f"v{route.version}", *([f"v{route.canary.version}"] if route.canary else [])] if route else []
    return BadRequest(
        "version_not_running", f"'{record.name}' v{version} does not run; {' and '.join(running) or 'none'} does.",
        "Leave ?version= away for the version that serves, or roll back to the one you want.", status=HTTPStatus.CONFLICT,
    )  # fmt: skip


def _never_served(record: ModelRecord) -> SlipwayError:
    upload = record.upload
    why = f": {upload.reason}" if upload is not None and upload.reason else ""
    return NotFound(
        "no_version", f"'{record.name}' has no version that serves{why}",
        upload.hint if upload is not None and upload.hint else "GET /api/models/NAME shows what became of its uploads.",
    )  # fmt: skip
