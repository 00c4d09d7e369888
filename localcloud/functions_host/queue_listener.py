"""Takes messages from a storage queue, at least once each: the queue trigger, and the queue behind the blob trigger.

A message's life: taken (invisible, renewed at half of that time while it is handled) → handled → deleted; or failed →
visible again after ``visibilityTimeout``; or failed ``maxDequeueCount`` times → copied to the poison queue and deleted.
A host that dies in between leaves the message to become visible by itself.
"""

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from localcloud.functions_host import storage
from localcloud.functions_host.decoding import QueueContent
from localcloud.functions_host.errors import InvocationError
from localcloud.functions_host.host_json import QueueOptions

logger = logging.getLogger(__name__)

_LEAST_WAIT = 0.1  # seconds between looks at a queue that has just had messages; doubles up to maxPollingInterval
_SETTLE_SECONDS = 5.0  # to give a message back


@dataclass(frozen=True)
class Pace:
    """In seconds. ``longest_wait`` caps ``maxPollingInterval``, as nothing here is billed by the request; ``hidden`` is for
    how long a message that was taken is invisible, where Azure has ten minutes: a killed host's come back sooner.
    """

    longest_wait: float = 1.0
    hidden: int = 30


Handle = Callable[[QueueContent], Awaitable[None]]


class QueueListener:
    """One queue. ``handle`` raises :class:`InvocationError` where the message is to be tried again."""

    def __init__(
        self, queue: QueueClient, poison: QueueClient, handle: Handle, options: QueueOptions, *, pace: Pace
    ) -> None:
        self._queue = queue
        self._poison = poison
        self._handle = handle
        self._options = options
        self._longest_wait = min(pace.longest_wait, options.max_polling_interval)
        self._hidden = pace.hidden
        self._running: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Has the queue looked at at once: the host has just put a message there."""
        self._changed.set()

    async def listen(self) -> None:
        """Takes messages until :meth:`drain` is called."""
        wait = _LEAST_WAIT
        while not self._stopping:
            if len(self._running) > self._options.new_batch_threshold:
                await self._until_changed(None)
                continue
            messages = await self._take()
            if self._stopping:
                await asyncio.gather(*(self._release(message, 0.0) for message in messages))
                return
            for message in messages:
                task = asyncio.create_task(self._process(message), name=f"message {message.id}")
                self._running.add(task)
                task.add_done_callback(self._done)
            if messages:
                wait = _LEAST_WAIT
            else:
                await self._until_changed(wait)
                wait = min(wait * 2, self._longest_wait)

    async def drain(self, grace_seconds: float) -> None:
        """Takes no more and waits for what is being handled; after ``grace_seconds`` that is given back to the queue."""
        self._stopping = True
        self._changed.set()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_SETTLE_SECONDS if grace_seconds > 0 else 0)

    async def _until_changed(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        self._changed.clear()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("A message of %s could not be settled: %s", self._queue.queue_name, error, exc_info=error)

    async def _take(self) -> list[QueueMessage]:
        try:
            found = self._queue.receive_messages(max_messages=self._options.batch_size, visibility_timeout=self._hidden)
            return [message async for message in found]
        except ResourceNotFoundError:
            return []  # the queue does not exist yet
        except AzureError as error:
            logger.warning("The queue %s cannot be read: %s", self._queue.queue_name, error)
            return []

    async def _process(self, message: QueueMessage) -> None:
        # dequeue_count is absent in peeked messages only; this one was received.
        count = message.dequeue_count or 1
        if count > self._options.max_dequeue_count:
            await self._to_poison(message)
            return
        try:
            body = self._decode(str(message.content))
        except ValueError as error:
            logger.error(
                "Message %s of %s is not %s: %s", message.id, self._queue.queue_name, self._options.encoding, error
            )
            await self._to_poison(message)
            return
        settled = asyncio.Event()
        renewal = asyncio.create_task(self._renew(message, settled))
        try:
            await self._handle(_content(message, body, count))
        except InvocationError:
            await _end(renewal, settled)
            if count >= self._options.max_dequeue_count:
                logger.error(
                    "Message has reached MaxDequeueCount of %d. Moving message to queue '%s'.",
                    self._options.max_dequeue_count, self._poison.queue_name,
                )  # fmt: skip
                await self._to_poison(message)
            else:
                await self._release(message, self._options.visibility_timeout)
        except asyncio.CancelledError:
            await _end(renewal, settled)
            await self._release(message, 0.0)
            raise
        else:
            await _end(renewal, settled)
            await self._delete(message)
        finally:
            settled.set()

    async def _renew(self, message: QueueMessage, settled: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(settled.wait(), self._hidden / 2)
                return
            try:
                renewed = await self._queue.update_message(message, visibility_timeout=self._hidden)
            except AzureError as error:
                logger.warning("Message %s of %s could not be renewed: %s", message.id, self._queue.queue_name, error)
            else:
                message.pop_receipt = renewed.pop_receipt

    async def _release(self, message: QueueMessage, seconds: float) -> None:
        try:
            await self._queue.update_message(message, visibility_timeout=int(seconds))
        except ResourceNotFoundError:
            logger.warning("Message %s of %s is already gone or taken again.", message.id, self._queue.queue_name)

    async def _delete(self, message: QueueMessage) -> None:
        try:
            await self._queue.delete_message(message)
        except ResourceNotFoundError:
            logger.warning("Message %s of %s is already gone or taken again.", message.id, self._queue.queue_name)

    async def _to_poison(self, message: QueueMessage) -> None:
        await storage.send(self._poison, str(message.content))
        await self._delete(message)

    def _decode(self, text: str) -> str:
        if self._options.encoding == "none":
            return text
        try:
            return base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError(str(error)) from error


async def _end(renewal: asyncio.Task[None], settled: asyncio.Event) -> None:
    """Lets a renewal under way finish before the message is settled: it changes the pop receipt."""
    settled.set()
    await asyncio.wait([renewal])


def _content(message: QueueMessage, body: str, count: int) -> QueueContent:
    return QueueContent(
        id=str(message.id),
        body=body,
        dequeue_count=count,
        pop_receipt=str(message.pop_receipt),
        inserted=message.inserted_on,
        expires=message.expires_on,
        next_visible=message.next_visible_on,
    )
