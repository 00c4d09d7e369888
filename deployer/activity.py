"""When each model was last asked, noted in storage at most once per model, instance and window.

Each instance writes a note of its own, ``activity/NAME/INSTANCE``, whose time of change is the time of the request; so no
instance reads what another wrote. A note may lag a request by one window, which the idle plan allows for: an instance that is
lost takes no older request with it. Where storage fails, the note is tried again each window while the instance lives.
"""

import asyncio
import uuid
from collections.abc import Callable
from datetime import datetime

from deployer.errors import SlipwayError
from deployer.ports import Documents
from deployer.telemetry import logger

log = logger(__name__)


class ActivityNotes:
    """The notes of this instance. For one event loop."""

    def __init__(self, documents: Documents, window_seconds: float, monotonic: Callable[[], float]) -> None:
        self._documents = documents
        self._window = window_seconds
        self._monotonic = monotonic
        self._instance = uuid.uuid4().hex[:12]
        self._written: dict[str, float] = {}
        self._pending: dict[str, asyncio.Task[None]] = {}

    def note(self, model: str) -> None:
        """Notes a request: at once if none was noted in this window, else when the window ends. Costs no storage call itself."""
        if model in self._pending:
            return
        wait = self._written.get(model, -self._window) + self._window - self._monotonic()
        self._pending[model] = asyncio.create_task(self._write(model, max(0.0, wait)))

    async def _write(self, model: str, wait: float) -> None:
        try:
            while True:
                await asyncio.sleep(wait)
                self._written[model] = self._monotonic()
                try:
                    await asyncio.to_thread(self._documents.put, f"activity/{model}/{self._instance}", b"")
                except SlipwayError as error:
                    log.warning("activity of '%s' was not noted: %s", model, error.message)
                    wait = self._window
                else:
                    return
        finally:
            del self._pending[model]


def last_requests(documents: Documents, model: str | None = None) -> dict[str, datetime]:
    """When each model (or this one) was last asked, by all instances' notes: one listing."""
    latest: dict[str, datetime] = {}
    for blob in documents.listing("activity/" if model is None else f"activity/{model}/"):
        model = blob.name.split("/")[1]
        latest[model] = max(blob.modified, latest.get(model, blob.modified))
    return latest
