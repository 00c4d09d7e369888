"""Storage clients by connection name, made once each."""

from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from localcloud.functions_host.app_settings import connection_string

HOST_CONNECTION = "AzureWebJobsStorage"
HOSTS_CONTAINER = "azure-webjobs-hosts"
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_RETRY: dict[str, Any] = {
    "retry_total": 2,
    "initial_backoff": 1,
    "increment_base": 2,
}  # the default waits 15 s and more


class Storage:
    """Clients of the accounts that the app's connections name; use it on one event loop."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._blobs: dict[str, BlobServiceClient] = {}
        self._queues: dict[str, QueueServiceClient] = {}

    def blobs(self, connection: str, where: str) -> BlobServiceClient:
        """Raises ``SettingError`` where the connection is not set."""
        if connection not in self._blobs:
            self._blobs[connection] = BlobServiceClient.from_connection_string(
                connection_string(connection, self._settings, where),
                connection_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                **_RETRY,
            )
        return self._blobs[connection]

    def queue(self, connection: str, name: str, where: str) -> QueueClient:
        """A queue whose messages are left as they are; raises ``SettingError`` where the connection is not set."""
        if connection not in self._queues:
            self._queues[connection] = QueueServiceClient.from_connection_string(
                connection_string(connection, self._settings, where),
                connection_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                **_RETRY,
            )
        return self._queues[connection].get_queue_client(name)

    @property
    def hosts(self) -> ContainerClient:
        """The container in which the host keeps receipts and timer states."""
        return self.blobs(HOST_CONNECTION, "The host").get_container_client(HOSTS_CONTAINER)

    async def close(self) -> None:
        """Closes every client."""
        for blobs in self._blobs.values():
            await blobs.close()
        for queues in self._queues.values():
            await queues.close()


async def ensure_container(container: ContainerClient) -> None:
    """Creates the container unless it is there."""
    try:
        await container.create_container()
    except ResourceExistsError:
        return


async def send(queue: QueueClient, text: str) -> None:
    """Appends a message, creating the queue if it is missing."""
    try:
        await queue.send_message(text)
    except ResourceNotFoundError:
        await ensure_queue(queue)
        await queue.send_message(text)


async def ensure_queue(queue: QueueClient) -> None:
    """Creates the queue unless it is there."""
    try:
        await queue.create_queue()
    except ResourceExistsError:
        return
