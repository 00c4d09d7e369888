"""Use case: a prediction, from the route to the answer. Async; for one event loop.

A request that gets no answer is sent once more, on another connection and along the route as it is by then, when a server is
there to take it: a prediction changes nothing, so that repeating it does no harm, but a server that is merely slow is not asked
twice. So a version that gives its place to the next, or a server that starts anew, costs its callers time, not answers. What a
version on trial does not answer, or answers with a 5xx, is counted against it and answered by the version that serves.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from deployer.activity import ActivityNotes
from deployer.errors import BadRequest, NotFound, TryLater, Unavailable
from deployer.figures import FigureNotes
from deployer.record import ModelRecord
from deployer.request import images, remote, render
from deployer.request.breaker import Breaker, Breakers
from deployer.request.forward import Connections, Lost, Outgoing, Response
from deployer.request.parse import ClassifyRequest, Wanted, worked
from deployer.request.recovery import Recovery
from deployer.request.routes import LOOK_SECONDS, Routes, Target, beside
from deployer.request.serving_api import ServingCall
from deployer.request.slots import Bodies, Slots
from deployer.settings import ProxySettings
from deployer.state import State
from deployer.telemetry import span
from deployer.waking import Waker

_HEADERS = {"Content-Type": "application/json"}
_SENDS = 2  # a server may have begun to work on a request so often
_PLATFORM_SECONDS = 225.0  # the platform's front end ends requests at 230 s, and says nothing of why


@dataclass(frozen=True)
class Answer:
    """Named classes, best first, for each image; and the version that said so, or its ``bridge``."""

    model: str
    version: int
    predictions: list[list[dict[str, Any]]]
    bridge: bool = False


@dataclass(frozen=True)
class Relayed:
    """A model server's answer as it is, and the version that gave it, or its ``bridge``."""

    version: int
    response: Response
    bridge: bool = False


class Proxy:
    """Predicts by asking the version that serves."""

    def __init__(
        self, state: State, waker: Waker, notes: ActivityNotes, figures: FigureNotes, settings: ProxySettings,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._notes = notes
        self._figures = figures
        self._settings = settings
        self._monotonic = monotonic
        self._routes = Routes(state, waker, settings, monotonic)
        self._slots = Slots(settings.max_concurrent)
        self._bodies = Bodies(settings.max_in_flight_mb << 20)
        self._breakers = Breakers(settings.breaker_failures, settings.breaker_seconds, monotonic)
        self._connections = Connections(settings)
        self._recovery = Recovery(self._routes, self._connections, settings, monotonic)

    async def classify(self, model: str, request: ClassifyRequest) -> Answer:
        """Named classes for the images of a request.

        Raises:
            NotFound: no such model or version.
            Waking: it sleeps, or its first version is on the way.
            BadRequest: an image cannot be fetched or decoded, or the version has no ``classify_image``.
            TryLater: too many requests are under way, or the server failed too often.
            Unavailable: no server answered, or not in time.
        """
        if request.url is None:
            return await self._classified(model, request, request.images)
        data = await self._fetched(model, request.url)
        with self.holding(data):
            return await self._classified(model, request, (data,))

    async def _classified(self, model: str, request: ClassifyRequest, pictures: tuple[bytes, ...]) -> Answer:
        body = await worked(lambda: render.request_body(pictures), sum(map(len, pictures)))

        def outgoing(record: ModelRecord, target: Target) -> Outgoing:
            _must_classify(record, target)
            return Outgoing("POST", f"/v1/models/{model}/versions/{target.version}:predict", body, _HEADERS)

        target, response = await self._predicted(model, request.wanted, outgoing)
        who = f"'{model}' v{target.version}"
        classes = render.classes(who, response, request.top, request.min_score)
        return Answer(model, target.version, classes, target.bridge)

    async def relay(self, call: ServingCall) -> Relayed:
        """TensorFlow Serving's own answer to its own question. Status and metadata neither wake a model nor keep it awake.

        Raises:
            NotFound, Waking, TryLater, Unavailable: as ``classify``.
            BadRequest: ``unknown_label``.
        """
        try:
            record = await self._routes.record(call.model)
        except NotFound as error:
            words = f"Servable not found for request: Latest({call.model[:60]})"
            raise NotFound(error.code, words, error.hint) from error
        wanted = call.resolved(record)
        if call.predicts:
            target, response = await self._predicted(call.model, wanted, lambda _, target: call.outgoing(target))
        else:
            target, response = await self._looked(record, wanted, call)
        return Relayed(target.version, response, target.bridge)

    def holding(self, body: bytes) -> AbstractContextManager[None]:
        """Counts a request's body as under way in this instance, for the block.

        Raises:
            TryLater: ``too_many_bytes``.
        """
        return self._bodies.one(len(body))

    async def close(self) -> None:
        """Closes the connections."""
        await self._connections.close()

    async def _fetched(self, model: str, text: str) -> bytes:
        url = remote.allowed(text, self._settings)
        await self._routes.record(model)
        with self._bodies.one(self._settings.max_body_mb << 20):  # its size is not known before
            data = await remote.fetch((await self._connections.sessions()).single, url, self._settings)
        images.check([("what 'url' names", data)], max_pixels=self._settings.max_pixels)
        return data

    async def _looked(self, record: ModelRecord, wanted: Wanted, call: ServingCall) -> tuple[Target, Response]:
        target = self._routes.serving(record, wanted)
        try:
            seconds = self._settings.timeout_seconds
            return target, await self._connections.send(target, call.outgoing(target), seconds=seconds, pooled=False)
        except Lost as error:
            raise _lost(record.name, target, error) from error

    async def _predicted(
        self, model: str, wanted: Wanted, outgoing: Callable[[ModelRecord, Target], Outgoing]
    ) -> tuple[Target, Response]:
        began = self._monotonic()
        deadline = began + min(wanted.hold_seconds, self._settings.hold_seconds)
        with span("route"):
            record, target = await self._routes.target(model, wanted, deadline)
        self._notes.note(model)
        with self._slots.one(model):
            give_up = min(max(deadline, self._monotonic() + self._settings.timeout_seconds), began + _PLATFORM_SECONDS)
            breaker: Breaker | None = None
            sends, pooled = 0, True
            while True:
                stable = beside(record, target, wanted)
                try:
                    sent = outgoing(record, target)
                except BadRequest:  # the one on trial may be no classifier
                    if stable is None:
                        raise
                    target, breaker = stable, None
                    continue
                if breaker is None:
                    breaker = self._breakers.of(model, target.version, target.address)
                    try:
                        breaker.admit()
                    except TryLater:
                        if stable is None:
                            raise
                        target, breaker = stable, None
                        continue
                try:
                    left = began + _PLATFORM_SECONDS - self._monotonic()
                    seconds = min(self._settings.timeout_seconds, max(1.0, left))
                    with span("forward"):
                        response = await self._connections.send(target, sent, seconds=seconds, pooled=pooled)
                except Unavailable:
                    self._failed(model, record, target, breaker)
                    if stable is None:
                        raise
                    target, breaker = stable, None
                    continue
                except Lost as error:
                    sends += error.taken
                    if stable is not None and not pooled:
                        self._failed(model, record, target, breaker)
                        target, breaker, sends = stable, None, min(sends, _SENDS - 1)
                        continue
                    if stable is not None:  # it may have been the connection's fault
                        pooled = False
                        continue
                    found, wanted = None, replace(wanted, stable=True)
                    if sends < _SENDS and self._monotonic() < give_up:
                        found = await self._recovery.server(model, wanted, target, deadline=deadline, give_up=give_up)
                    if found is None:
                        self._failed(model, record, target, breaker)
                        raise _lost(model, target, error) from error
                    if not pooled:  # a server that was there a moment ago and is not any more
                        await asyncio.sleep(LOOK_SECONDS)
                    record, now = found
                    if now != target:
                        target, breaker = now, None
                    pooled = False
                    continue
                if not response.failed:
                    breaker.succeeded()
                    self._figures.note(model, record.route, target.version, error=False)
                    return target, response
                self._failed(model, record, target, breaker)
                if stable is None:
                    return target, response
                target, breaker = stable, None

    def _failed(self, model: str, record: ModelRecord, target: Target, breaker: Breaker) -> None:
        breaker.failed()
        self._figures.note(model, record.route, target.version, error=True)


def _must_classify(record: ModelRecord, target: Target) -> None:
    signatures = record.version(target.version).signatures
    if "classify_image" not in signatures:
        raise BadRequest(
            "no_classifier",
            f"'{record.name}' v{target.version} has no signature 'classify_image', only {', '.join(signatures)}.",
            f"Ask it by POST /api/v1/models/{record.name}:predict, as TensorFlow Serving is asked; or drop it with its class "
            f"names beside it as '{record.name}.labels.txt', one a line.", status=HTTPStatus.CONFLICT,
        )  # fmt: skip


def _lost(model: str, target: Target, error: Exception) -> Unavailable:
    return Unavailable(
        "model_server", f"'{model}' v{target.version} does not answer at {target.address}: {error}",
        "Try again in a moment; GET /api/models/NAME shows what goes on.",
    )  # fmt: skip
