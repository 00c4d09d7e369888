"""Azure Storage: the drop, servable and state containers, and the queue. Implements the storage ports.

The account is the Functions app's own: ``AzureWebJobsStorage`` as a connection string, or, with an identity,
``AzureWebJobsStorage__accountName`` or ``AzureWebJobsStorage__blobServiceUri`` and ``…__queueServiceUri``.
"""

import base64
import contextlib
import json
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobLeaseClient, BlobProperties, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, QueueServiceClient

from deployer.errors import Conflict, SlipwayError, Unavailable
from deployer.ports import BlobRef, StoredDocument

_TIMEOUTS: Mapping[str, Any] = {"connection_timeout": 10, "read_timeout": 60, "retry_total": 4}
_LEASE_SECONDS = 60
_RENEWAL_SECONDS = 20.0
_BLOCKS_AT_ONCE = 4


def storage_services(
    environment: Mapping[str, str], credential: TokenCredential
) -> tuple[BlobServiceClient, QueueServiceClient]:
    """The clients of the Functions app's storage account.

    Raises:
        SlipwayError: ``no_storage``, when the environment names no account.
    """
    if connection := environment.get("AzureWebJobsStorage"):
        return (
            BlobServiceClient.from_connection_string(connection, **_TIMEOUTS),
            QueueServiceClient.from_connection_string(connection, **_TIMEOUTS),
        )
    account = environment.get("AzureWebJobsStorage__accountName")
    blobs = environment.get("AzureWebJobsStorage__blobServiceUri") or (
        account and f"https://{account}.blob.core.windows.net"
    )
    queues = environment.get("AzureWebJobsStorage__queueServiceUri") or (
        account and f"https://{account}.queue.core.windows.net"
    )
    if not blobs or not queues:
        raise SlipwayError(
            "no_storage", "No storage account is configured.",
            "Set AzureWebJobsStorage (a connection string), or AzureWebJobsStorage__accountName with an identity.",
        )  # fmt: skip
    return BlobServiceClient(blobs, credential, **_TIMEOUTS), QueueServiceClient(queues, credential, **_TIMEOUTS)


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turns what the SDK raises into an error that names what was attempted."""
    try:
        yield
    except AzureError as error:
        raise Unavailable(
            "storage", f"Storage did not do this: {what} ({error.message.splitlines()[0] if error.message else error}).",
            "It is tried again; if it persists, check the account and the identity's roles.",
        ) from error  # fmt: skip


class BlobContainer:
    """One container; the base of the three below."""

    def __init__(self, container: ContainerClient) -> None:
        self._container = container

    def listing(self, prefix: str) -> Iterable[BlobRef]:
        """The blobs whose name begins so, by name."""
        with _named(f"list '{self._container.container_name}/{prefix}'"):
            for properties in self._container.list_blobs(name_starts_with=prefix):
                yield _ref(properties)

    def read(self, path: str) -> StoredDocument | None:
        """The blob, if it is there. For small blobs."""
        try:
            with _named(f"read '{path}'"):
                stream = self._container.download_blob(path)
                return StoredDocument(stream.readall(), stream.properties.etag)
        except Unavailable as error:
            if isinstance(error.__cause__, ResourceNotFoundError):
                return None
            raise

    def remove(self, path: str) -> None:
        """Removes the blob, if it is there."""
        with _named(f"remove '{path}'"), contextlib.suppress(ResourceNotFoundError):
            self._container.delete_blob(path)


class BlobDocuments(BlobContainer):
    """The state container. Implements ``Documents``."""

    def write(self, path: str, data: bytes, *, etag: str | None) -> str:
        """Writes under the condition that the document has this ETag still, or, with None, is not there."""
        blob = self._container.get_blob_client(path)
        with _named(f"write '{path}'"):
            try:
                if etag is None:
                    written = blob.upload_blob(data, overwrite=False)
                else:
                    written = blob.upload_blob(
                        data, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified
                    )
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
                raise Conflict("conflict", f"'{path}' was written by another.", "Read it again.") from error
            return str(written["etag"])

    def put(self, path: str, data: bytes) -> None:
        """Writes whatever is there."""
        with _named(f"write '{path}'"):
            self._container.upload_blob(path, data, overwrite=True)

    @contextmanager
    def lease(self, name: str) -> Iterator[bool]:
        """Holds a lease on ``locks/NAME`` for the block; yields False where another holds it.

        The lease runs for 60 s and is renewed every 20 s; after a crash it is free again within 60 s.
        """
        blob = self._container.get_blob_client(f"locks/{name}")
        with _named(f"lease 'locks/{name}'"):
            with contextlib.suppress(ResourceExistsError, ResourceModifiedError):  # there already, perhaps leased
                blob.upload_blob(b"", overwrite=False)
            lease = BlobLeaseClient(blob, lease_id=str(uuid.uuid4()))
            try:
                lease.acquire(lease_duration=_LEASE_SECONDS)
            except HttpResponseError as error:
                if error.status_code != 409:
                    raise
                held = False
            else:
                held = True
        if not held:
            yield False
            return
        ended = threading.Event()
        renewer = threading.Thread(target=_renew, args=(lease, ended), name=f"lease-{name}", daemon=True)
        renewer.start()
        try:
            yield True
        finally:
            ended.set()
            renewer.join(timeout=_LEASE_SECONDS)
            with contextlib.suppress(AzureError):  # it runs out by itself
                lease.release()


class BlobUploads(BlobContainer):
    """The drop container. Implements ``UploadStore``."""

    def find(self, blob: str) -> BlobRef | None:
        """The blob as it is now."""
        with _named(f"look at '{blob}'"):
            try:
                return _ref(self._container.get_blob_client(blob).get_blob_properties())
            except ResourceNotFoundError:
                return None

    def download(self, blob: BlobRef, to: Path) -> None:
        """Streams the blob to a file, provided that it is still the one that was looked at."""
        client = self._container.get_blob_client(blob.name)
        with _named(f"download '{blob.name}'"), to.open("wb") as file:
            try:
                client.download_blob(
                    etag=f'"{blob.etag}"',
                    match_condition=MatchConditions.IfNotModified,
                    max_concurrency=_BLOCKS_AT_ONCE,
                ).readinto(file)
            except (ResourceModifiedError, ResourceNotFoundError) as error:
                raise Conflict(
                    "overwritten", f"'{blob.name}' changed while it was read.", "It is begun anew."
                ) from error

    def tag(self, blob: str, tags: Mapping[str, str]) -> None:
        """Sets index tags, or takes those with an empty value away, keeping all others; a blob that is gone is left so."""
        client = self._container.get_blob_client(blob)
        with _named(f"tag '{blob}'"), contextlib.suppress(ResourceNotFoundError):
            before = client.get_blob_tags()
            after = {name: value for name, value in {**before, **tags}.items() if value}
            if after != before:
                client.set_blob_tags(after)


class BlobServables(BlobContainer):
    """The container that the cluster mounts. Implements ``ServableStore``."""

    def upload(self, path: str, source: Path) -> None:
        """Stores a file in parallel blocks."""
        with _named(f"upload '{path}'"), source.open("rb") as file:
            self._container.upload_blob(path, file, overwrite=True, max_concurrency=_BLOCKS_AT_ONCE)


class StorageRolloutQueue:
    """The queue ``rollouts``. Implements ``RolloutQueue``."""

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue

    def ask(self, model: str, *, delay_seconds: int = 0) -> None:
        """Sends ``{"model": NAME}``, base64-encoded as the Functions host expects by default."""
        message = base64.b64encode(json.dumps({"model": model}).encode()).decode()
        with _named(f"ask for a look at '{model}'"):
            self._queue.send_message(message, visibility_timeout=delay_seconds)


class StorageOperationQueue:
    """The queue ``operations``. Implements ``OperationQueue``."""

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue

    def ask(self, operation: str, *, delay_seconds: int = 0) -> None:
        """Sends ``{"operation": ID}``, encoded likewise."""
        message = base64.b64encode(json.dumps({"operation": operation}).encode()).decode()
        with _named(f"ask for a look at operation '{operation}'"):
            self._queue.send_message(message, visibility_timeout=delay_seconds)


def _ref(properties: BlobProperties) -> BlobRef:
    return BlobRef(properties.name, properties.etag.strip('"'), properties.size, properties.last_modified)


def _renew(lease: BlobLeaseClient, ended: threading.Event) -> None:
    while not ended.wait(_RENEWAL_SECONDS):
        try:
            lease.renew()
        except ResourceExistsError:
            return  # lost: conditional writes decide from here
        except AzureError:
            continue  # tried again before the lease runs out
