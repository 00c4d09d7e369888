"""The blob trigger: scans of containers become messages in the host's own queue, and those become invocations.

A scan finds a blob → no complete receipt for (function, blob, ETag) → incomplete receipt → message → complete receipt.
A crash in between repeats the message: at least once, as on Azure. At execution the blob is looked at again: where it
is gone the message is dropped; where it has changed, too, as the scan has seen the newer one (not for Event Grid, whose
messages Azure does not compare).

Azurite sends no events, so functions that name Event Grid as their source are scanned for as well; see ``event_grid``
for the webhook.
"""

import asyncio
import base64
import contextlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobType
from azure.storage.blob.aio import BlobClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from localcloud.functions_host import decoding, storage
from localcloud.functions_host.storage import Storage
from localcloud.functions_host.triggers import BlobTrigger, Function
from localcloud.functions_host.worker import Worker

logger = logging.getLogger(__name__)

POISON_QUEUE = "webjobs-blobtrigger-poison"
_INCOMPLETE = "Incomplete"


def queue_name(host_id: str) -> str:
    """The host's own queue of blobs that wait for their function."""
    return f"azure-webjobs-blobtrigger-{host_id}"


@dataclass(frozen=True)
class BlobMessage:
    """One entry of that queue; its JSON is also what ends in the poison queue. ``etag`` has its quotation marks."""

    function_id: str
    blob_type: str
    container: str
    blob: str
    etag: str

    def encode(self) -> str:
        """The message as the extension writes it: indented JSON, in base64."""
        fields = {
            "Type": "BlobTrigger",
            "FunctionId": self.function_id,
            "BlobType": self.blob_type,
            "ContainerName": self.container,
            "BlobName": self.blob,
            "ETag": self.etag,
        }
        return base64.b64encode(json.dumps(fields, indent=2, ensure_ascii=False).encode()).decode()

    @staticmethod
    def parse(text: str) -> "BlobMessage":
        """Reads the JSON (already out of its base64); raises ``ValueError`` where it is something else."""
        fields = json.loads(text)
        try:
            return BlobMessage(
                fields["FunctionId"], fields["BlobType"], fields["ContainerName"], fields["BlobName"], fields["ETag"]
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a blob trigger message: {text[:200]}") from error


class BlobScanner:
    """Looks for blobs that their functions have not been told of."""

    def __init__(
        self,
        host_id: str,
        functions: Iterable[tuple[Function, BlobTrigger]],
        stores: Storage,
        queue: QueueClient,
        *,
        on_enqueued: Callable[[], None],
    ) -> None:
        self._host_id = host_id
        self._stores = stores
        self._queue = queue
        self._on_enqueued = on_enqueued
        self._watched: dict[tuple[str, str], list[tuple[Function, BlobTrigger]]] = defaultdict(list)
        for function, trigger in functions:
            self._watched[trigger.connection, trigger.container].append((function, trigger))
        self._known: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # blob → ETag already handed on

    async def scan_every(self, seconds: float, stopping: asyncio.Event) -> None:
        """Scans again and again; Azure does so every 10 s. A scan under way is finished, lest it repeat messages."""
        while not stopping.is_set():
            for connection, container in self._watched:
                try:
                    await self._scan(connection, container)
                except AzureError as error:
                    logger.warning("The container %s could not be scanned: %s", container, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), seconds)

    async def _scan(self, connection: str, container: str) -> None:
        client = self._stores.blobs(connection, "A blob trigger").get_container_client(container)
        known = self._known[connection, container]
        present: dict[str, str] = {}
        try:
            async for blob in client.list_blobs():
                name, etag = str(blob.name), f'"{str(blob.etag).strip(chr(34))}"'
                if known.get(name) != etag:
                    for function, trigger in self._watched[connection, container]:
                        if trigger.blob_pattern.fullmatch(name):
                            await self._hand_on(function, container, name, etag, BlobType(blob.blob_type).value)
                present[name] = etag
        except ResourceNotFoundError:
            logger.debug("The container %s does not exist (yet).", container)
        self._known[connection, container] = present

    async def _hand_on(self, function: Function, container: str, blob: str, etag: str, blob_type: str) -> None:
        receipt = self._stores.hosts.get_blob_client(
            f"blobreceipts/{self._host_id}/{function.id}/{etag}/{container}/{blob}"
        )
        if await _is_complete(receipt):
            return
        await storage.send(self._queue, BlobMessage(function.id, blob_type, container, blob, etag).encode())
        self._on_enqueued()
        try:
            await receipt.set_blob_metadata({})
        except ResourceNotFoundError:
            logger.debug("The receipt of %s/%s was deleted meanwhile.", container, blob)


async def _is_complete(receipt: BlobClient) -> bool:
    """Creates the receipt, incomplete, where there is none."""
    try:
        await receipt.upload_blob(b"", metadata={_INCOMPLETE: _INCOMPLETE}, overwrite=False)
    except ResourceExistsError:
        properties = await receipt.get_blob_properties()
        return not any(key.lower() == _INCOMPLETE.lower() for key in properties.metadata)
    return False


class BlobRunner:
    """Runs the function that a message of the host's own queue is for."""

    def __init__(self, functions: Iterable[tuple[Function, BlobTrigger]], stores: Storage, worker: Worker) -> None:
        self._functions = {function.id.lower(): (function, trigger) for function, trigger in functions}
        self._stores = stores
        self._worker = worker

    async def handle(self, content: decoding.QueueContent) -> None:
        """Raises ``InvocationError`` where the blob is to be tried again."""
        try:
            message = BlobMessage.parse(content.body)
        except ValueError as error:
            logger.error("A message is dropped: %s", error)
            return
        if message.function_id.lower() not in self._functions:
            logger.warning("The function %s is not here; %s is dropped.", message.function_id, message.blob)
            return
        function, trigger = self._functions[message.function_id.lower()]
        container = self._stores.blobs(trigger.connection, function.id).get_container_client(message.container)
        argument = await self._argument(function, trigger, container, message)
        if argument is not None:
            await self._worker.invoke(function, argument, about=f" for {message.container}/{message.blob}")

    async def _argument(
        self, function: Function, trigger: BlobTrigger, container: ContainerClient, message: BlobMessage
    ) -> object | None:
        """What the function is given; ``None`` where the blob is gone, or newer than the message."""
        blob = container.get_blob_client(message.blob)
        try:
            properties = await blob.get_blob_properties()
        except ResourceNotFoundError:
            logger.info("%s/%s is gone; its message is dropped.", message.container, message.blob)
            return None
        if not trigger.event_grid and str(properties.etag).strip('"') != message.etag.strip('"'):
            logger.info("%s/%s has changed; its older message is dropped.", message.container, message.blob)
            return None
        if decoding.is_sdk_type(function.parameter_type):
            return decoding.blob_reference(function, trigger.connection, message.container, message.blob)
        download = await blob.download_blob()
        return decoding.blob_content(function, trigger, await download.readall(), properties, url=blob.url)
