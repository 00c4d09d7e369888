"""Where a request goes that got no answer: to the server that has taken the place of the one that went, or to that one again.

It is not sent again before a server is there to answer it. Whether one is, is looked at twice a second, by one look at the
record and one at the server (its metadata, as its readiness probe asks) for all requests of this instance that wait.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from deployer.errors import Unavailable
from deployer.record import ModelRecord
from deployer.request.forward import Connections, Lost, Outgoing
from deployer.request.looks import Looks
from deployer.request.parse import Wanted
from deployer.request.routes import LOOK_SECONDS, Routes, Target
from deployer.settings import ProxySettings


class Recovery:
    """Waits for servers. For one event loop."""

    def __init__(
        self, routes: Routes, connections: Connections, settings: ProxySettings, monotonic: Callable[[], float]
    ) -> None:
        self._routes = routes
        self._connections = connections
        self._settings = settings
        self._monotonic = monotonic
        self._there = Looks(self._answers, monotonic)

    async def server(
        self, model: str, wanted: Wanted, lost: Target, *, deadline: float, give_up: float
    ) -> tuple[ModelRecord, Target] | None:
        """The record and the server to ask instead; None where there is none in time.

        ``deadline``: as ``Routes.target`` takes it. ``give_up``: how long a server is waited for that a rollout replaces; any
        other only ``recovery_seconds``. Both in the time of the monotonic clock.

        Raises:
            NotFound, BadRequest, Waking: as ``Routes.target``, as the model is now.
        """
        began = moment = self._monotonic()
        while True:
            record, now = await self._routes.target(model, wanted, deadline, since=moment, bridges=not lost.bridge)
            if now != lost or await self._there.since((model, lost), moment):
                return record, now
            patience = max(deadline, began + self._settings.recovery_seconds)
            until = give_up if _replaced(record, lost) else min(give_up, patience)
            if self._monotonic() + LOOK_SECONDS > until:
                return None
            await asyncio.sleep(LOOK_SECONDS)
            moment = max(began, self._monotonic() - LOOK_SECONDS)

    async def _answers(self, place: tuple[str, Target]) -> bool:
        model, target = place
        ready = Outgoing("GET", f"/v1/models/{model}/versions/{target.version}/metadata")
        try:
            answer = await self._connections.send(
                target, ready, seconds=self._settings.connect_seconds + LOOK_SECONDS, pooled=False
            )
        except (Lost, Unavailable):
            return False
        return answer.status == HTTPStatus.OK


def _replaced(record: ModelRecord, lost: Target) -> bool:
    """Whether the version that serves is being brought up, or replaced; one on trial beside it is not waited for as long."""
    return record.rollout is not None and record.route is not None and record.route.version == lost.version
