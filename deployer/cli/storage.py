"""The drop container, through the Azure SDK."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import BlobServiceClient, ContainerClient

from deployer.cli.drop import Drop, DropFile
from deployer.cli.errors import CliError, Failed, Unreachable, Usage

CONTAINER = "models"

_LIMITS: dict[str, Any] = {
    "connection_timeout": 10, "read_timeout": 120, "retry_total": 3, "initial_backoff": 1, "increment_base": 2,
}  # fmt: skip


class DropContainer:
    """Where models are dropped."""

    def __init__(self, storage: str) -> None:
        """``storage`` is a connection string, or the account's blob URL (the caller's own sign-in is used then).

        Raises:
            Usage: it is neither.
        """
        self._container = _container(storage)

    def send(self, drop: Drop, progress: Callable[[DropFile, int], None]) -> str:
        """Sends what a push sends and returns the ETag of the blob that completes it.

        ``progress`` is told of each file and how many of its bytes have been sent.

        Raises:
            Unreachable: the storage account does not answer or does not let the caller in.
        """
        with _errors():
            for file in drop.sidecars:
                if self._differs(file):  # a new ETag alone would have the old model looked at again
                    self._upload(file, progress)
            if drop.directory:
                self._clear(drop)
            etags = [self._upload(file, progress) for file in drop.files]
        return etags[-1]

    def _upload(self, file: DropFile, progress: Callable[[DropFile, int], None]) -> str:
        with file.path.open("rb") as data:
            answer = self._container.get_blob_client(file.blob).upload_blob(
                data, length=file.path.stat().st_size, overwrite=True, max_concurrency=4,
                progress_hook=lambda current, _: progress(file, current),
            )  # fmt: skip
        return str(answer["etag"]).strip('"')

    def _differs(self, file: DropFile) -> bool:
        try:
            there: bytes = self._container.download_blob(file.blob).readall()
        except ResourceNotFoundError:
            return True
        return there != file.path.read_bytes()

    def _clear(self, drop: Drop) -> None:
        """Removes the directory that lay there, its saved_model.pb first, so that no mixture is ever complete."""
        names = [blob.name for blob in self._container.list_blobs(name_starts_with=f"{drop.model}/")]
        for name in sorted(names, key=lambda name: name != drop.last.blob):
            self._container.delete_blob(name)


def _container(storage: str) -> ContainerClient:
    if storage.startswith("https://"):
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415  (a second; only where it is used)

        return BlobServiceClient(storage, credential=DefaultAzureCredential(), **_LIMITS).get_container_client(
            CONTAINER
        )
    try:
        return BlobServiceClient.from_connection_string(storage, **_LIMITS).get_container_client(CONTAINER)
    except ValueError as error:
        raise Usage(
            "bad_storage", f"The storage connection string cannot be read: {error}",
            "Take it from the portal (Access keys) or from 'slipway up'.",
        ) from error  # fmt: skip


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except AzureError as error:
        raise _told(error) from error


def _told(error: AzureError) -> CliError:
    match error:
        case ResourceNotFoundError():
            return Unreachable(
                "no_container", f"The storage account has no container '{CONTAINER}'.",
                "Check --storage: it must be the account that the function app watches.",
            )  # fmt: skip
        case ClientAuthenticationError() | HttpResponseError(status_code=403):
            return Unreachable(
                "storage_refused", "The storage account does not let you write.",
                "Check the key in --storage, or your role: Storage Blob Data Contributor on the account.",
            )  # fmt: skip
        case ServiceRequestError() | ServiceResponseError():
            return Unreachable(
                "storage_unreachable", f"The storage account cannot be reached: {error.message}",
                "Check --storage, and that the local cloud or your network is up.",
            )  # fmt: skip
        case _:
            return Failed("upload_failed", f"The upload failed: {error.message}", "Push again; nothing was changed.")
