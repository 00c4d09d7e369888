"""Azure Storage: the drop, servable and state containers, and the queue. Implements the storage ports.

The account is the Functions app's own: ``AzureWebJobsStorage`` as a connection string, or, with an identity,
``AzureWebJobsStorage__accountName`` or ``AzureWebJobsStorage__blobServiceUri`` and ``…__queueServiceUri``.
"""

import base64
import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobProperties, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, QueueServiceClient

from deployer.adapters.blob_lease import acquire
from deployer.errors import Conflict, SlipwayError, Unavailable
from deployer.ports import BlobRef, Lease, StoredDocument

_TIMEOUTS: Mapping[str, Any] = {"connection_timeout": 10, "read_timeout": 60, "retry_total": 4}
_BLOCK = 8 << 20  # bytes; a transfer holds at most _BLOCKS_AT_ONCE of them in memory, however large the file
_BLOCKS_AT_ONCE = 4
_TRANSFERS: Mapping[str, Any] = {
    "max_single_get_size": _BLOCK, "max_chunk_get_size": _BLOCK, "max_single_put_size": _BLOCK, "max_block_size": _BLOCK,
}  # fmt: skip
_COPY_SECONDS = 600.0
_COPY_LOOKS = 1.0  # seconds between two looks at a copy that was not made at once


def storage_services(
    environment: Mapping[str, str], credential: TokenCredential
) -> tuple[BlobServiceClient, QueueServiceClient]:
    """The clients of the Functions app's storage account.

    Raises:
        SlipwayError: ``no_storage``, when the environment names no account.
    """
    if connection := environment.get("AzureWebJobsStorage"):
        return (
            BlobServiceClient.from_connection_string(connection, **_TIMEOUTS, **_TRANSFERS),
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
    return (
        BlobServiceClient(blobs, credential, **_TIMEOUTS, **_TRANSFERS),
        QueueServiceClient(queues, credential, **_TIMEOUTS),
    )


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
        """The blobs whose name begins so, by name, with their metadata."""
        with _named(f"list '{self._container.container_name}/{prefix}'"):
            for properties in self._container.list_blobs(name_starts_with=prefix, include=["metadata"]):
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

    def remove(self, path: str, *, etag: str | None = None) -> None:
        """Removes the blob, if it is there, and with the ETag of a listing only if it is still that one."""
        same: dict[str, Any] = (
            {} if etag is None else {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        )
        with _named(f"remove '{path}'"), contextlib.suppress(ResourceNotFoundError, ResourceModifiedError):
            self._container.delete_blob(path, **same)


class BlobDocuments(BlobContainer):
    """The state container. Implements ``Documents``."""

    def write(self, path: str, data: bytes, *, etag: str | None, metadata: Mapping[str, str] | None = None) -> str:
        """Writes under the condition that the document has this ETag still, or, with None, is not there."""
        blob = self._container.get_blob_client(path)
        told = dict(metadata or {})
        with _named(f"write '{path}'"):
            try:
                if etag is None:
                    written = blob.upload_blob(data, overwrite=False, metadata=told)
                else:
                    written = blob.upload_blob(
                        data, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified, metadata=told
                    )
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError) as error:
                raise Conflict("conflict", f"'{path}' was written by another.", "Read it again.") from error
            return str(written["etag"])

    def put(self, path: str, data: bytes) -> None:
        """Writes whatever is there."""
        with _named(f"write '{path}'"):
            self._container.upload_blob(path, data, overwrite=True)

    @contextmanager
    def lease(self, name: str) -> Iterator[Lease | None]:
        """Holds a lease on ``locks/NAME`` for the block; yields None where another holds it."""
        with _named(f"lease 'locks/{name}'"):
            lease = acquire(self._container.get_blob_client(f"locks/{name}"))
        if lease is None:
            yield None
            return
        with lease.renewed():
            yield lease


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

    def tags(self, blob: str) -> Mapping[str, str]:
        """Its index tags; none where it is gone."""
        with _named(f"read the tags of '{blob}'"):
            try:
                return dict(self._container.get_blob_client(blob).get_blob_tags())
            except ResourceNotFoundError:
                return {}

    def tag(self, blob: str, tags: Mapping[str, str]) -> None:
        """Sets index tags, or takes those with an empty value away, keeping all others; a blob that is gone is left so."""
        client = self._container.get_blob_client(blob)
        with _named(f"tag '{blob}'"), contextlib.suppress(ResourceNotFoundError):
            before = client.get_blob_tags()
            after = {name: value for name, value in {**before, **tags}.items() if value}
            if after != before:
                client.set_blob_tags(after)


class BlobServables(BlobContainer):
    """The container that the cluster mounts. Implements ``ServableStore``; copies come from the drop container."""

    def __init__(self, container: ContainerClient, drop: ContainerClient) -> None:
        super().__init__(container)
        self._drop = drop

    def upload(self, path: str, source: Path, *, replace: bool = True) -> None:
        """Stores a file in parallel blocks."""
        with _named(f"upload '{path}'"), source.open("rb") as file, _only_if_none(path):
            self._container.upload_blob(path, file, overwrite=replace, max_concurrency=_BLOCKS_AT_ONCE)

    def copy(self, path: str, source: BlobRef, *, replace: bool = True) -> None:
        """Has storage copy a blob of the drop container, provided that it is still the one that was looked at.

        Within an account the caller's own right to read the source suffices, and the copy is mostly made at once.
        """
        target = self._container.get_blob_client(path)
        condition: dict[str, Any] = {} if replace else {"match_condition": MatchConditions.IfMissing}
        with _named(f"copy '{source.name}' to '{path}'"):
            try:
                with _only_if_none(path):
                    begun = target.start_copy_from_url(
                        self._drop.get_blob_client(source.name).url,
                        source_etag=f'"{source.etag}"',
                        source_match_condition=MatchConditions.IfNotModified,
                        **condition,
                    )
            except (ResourceModifiedError, ResourceNotFoundError) as error:
                raise Conflict(
                    "overwritten", f"'{source.name}' changed before it was copied.", "It is begun anew."
                ) from error
            status: str | None = str(begun["copy_status"])
            deadline = time.monotonic() + _COPY_SECONDS
            while status == "pending" and time.monotonic() < deadline:
                time.sleep(_COPY_LOOKS)
                status = target.get_blob_properties().copy.status
        if status != "success":
            raise Unavailable("storage", f"The copy of '{source.name}' to '{path}' is {status}.", "It is tried again.")


@contextmanager
def _only_if_none(path: str) -> Iterator[None]:
    try:
        yield
    except ResourceExistsError as error:
        raise Conflict("exists", f"'{path}' is there already.", "Look again at what there is.") from error


class StorageRolloutQueue:
    """The queue ``rollouts``. Implements ``RolloutQueue``."""

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue

    def ask(self, model: str, *, delay_seconds: int = 0, chain: str | None = None, job: str | None = None) -> None:
        """Sends ``{"model": NAME}``, with ``chain`` or ``job`` if given, base64-encoded as the Functions host expects."""
        told = {"model": model, "chain": chain, "job": job}
        message = base64.b64encode(json.dumps({key: value for key, value in told.items() if value}).encode()).decode()
        with _named(f"ask for a look at '{model}'"):
            self._queue.send_message(message, visibility_timeout=delay_seconds)


class StorageQueues:
    """What waits in the account's queues. Implements ``Queues``."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service

    def waiting(self, queue: str) -> int | None:
        """About how many messages are in the queue, hidden ones included; None where there is none of that name."""
        with _named(f"look at the queue '{queue}'"), self._service.get_queue_client(queue) as client:
            try:
                return int(client.get_queue_properties().approximate_message_count or 0)
            except ResourceNotFoundError:
                return None


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
    return BlobRef(
        properties.name, properties.etag.strip('"'), properties.size, properties.last_modified,
        dict(properties.metadata or {}),
    )  # fmt: skip
