"""The timer trigger: one run at a time, the next computed when it has ended, errors never stopping the schedule.

A monitored timer (one that comes less often than every minute) keeps its state in
``azure-webjobs-hosts/timers/{hostId}/{functionId}/status``; a host that starts after the time it was due runs it at
once, with ``past_due``.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob.aio import BlobClient

from localcloud.functions_host import decoding
from localcloud.functions_host.errors import InvocationError
from localcloud.functions_host.schedule import Schedule
from localcloud.functions_host.storage import Storage
from localcloud.functions_host.triggers import Function, TimerTrigger
from localcloud.functions_host.worker import Worker

logger = logging.getLogger(__name__)

_NEVER = "0001-01-01T00:00:00+00:00"  # .NET's DateTime.MinValue
_LONGEST_SLEEP = 60.0  # seconds; a sleep of hours would miss a change of the clock


class Timer:
    """One timer function."""

    def __init__(
        self, host_id: str, function: Function, trigger: TimerTrigger, stores: Storage, worker: Worker
    ) -> None:
        self._function = function
        self._trigger = trigger
        self._worker = worker
        self._schedule = Schedule(trigger.schedule)
        monitored = trigger.use_monitor and not self._schedule.is_frequent(datetime.now(UTC))
        self._status: BlobClient | None = None
        if monitored:
            self._status = stores.hosts.get_blob_client(f"timers/{host_id}/{function.id}/status")

    async def keep(self, stopping: asyncio.Event) -> None:
        """Runs the function when it is due; a run that is under way when the host stops is not cut short here."""
        now = datetime.now(UTC)
        status = await self._load()
        past_due = self._is_past_due(status, now)
        if past_due or self._trigger.run_on_startup:
            status = await self._run(status, past_due=past_due)
        elif not status or self._has_changed(status):
            status = await self._save(status.get("Last", _NEVER), self._schedule.after(now), now)
        while await _has_come(self._schedule.after(datetime.now(UTC)), stopping):
            status = await self._run(status, past_due=False)

    async def run_now(self) -> None:
        """One run out of turn, as ``POST /admin/functions/NAME`` asks for; raises ``InvocationError``."""
        await self._worker.invoke(self._function, decoding.timer_request(self._trigger, False, await self._load()))

    def _is_past_due(self, status: Mapping[str, str], now: datetime) -> bool:
        return bool(status) and not self._has_changed(status) and now > datetime.fromisoformat(status["Next"])

    def _has_changed(self, status: Mapping[str, str]) -> bool:
        """Whether another schedule than this one planned the next run."""
        return self._schedule.after(datetime.fromisoformat(status["LastUpdated"])).isoformat() != status["Next"]

    async def _run(self, status: Mapping[str, str], *, past_due: bool) -> Mapping[str, str]:
        started = datetime.now(UTC)
        request = decoding.timer_request(self._trigger, past_due, status)
        try:
            await self._worker.invoke(self._function, request, about=" (past due)" if past_due else "")
        except InvocationError:
            logger.debug("The timer %s goes on after a failure.", self._function.name)
        ended = datetime.now(UTC)
        return await self._save(started.isoformat(), self._schedule.after(ended), ended)

    async def _load(self) -> Mapping[str, str]:
        if self._status is None:
            return {}
        try:
            content = json.loads(await (await self._status.download_blob()).readall())
        except ResourceNotFoundError:
            return {}
        except (AzureError, ValueError) as error:
            logger.warning("The state of the timer %s cannot be read: %s", self._function.name, error)
            return {}
        keys = ("Last", "Next", "LastUpdated")
        return {key: str(content[key]) for key in keys} if all(key in content for key in keys) else {}

    async def _save(self, last: str, following: datetime, updated: datetime) -> Mapping[str, str]:
        status = {"Last": last, "Next": following.isoformat(), "LastUpdated": updated.isoformat()}
        if self._status is None:
            return {}
        try:
            await self._status.upload_blob(json.dumps(status), overwrite=True)
        except AzureError as error:
            logger.warning("The state of the timer %s cannot be written: %s", self._function.name, error)
        return status


async def _has_come(due: datetime, stopping: asyncio.Event) -> bool:
    """Waits for ``due``, in parts, as the clock may be set meanwhile; ``False`` where the host stops before."""
    while (left := (due - datetime.now(UTC)).total_seconds()) > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), min(left, _LONGEST_SLEEP))
            return False
    return not stopping.is_set()
