"""Blob containers as read-only folders, followed as blobfuse would with short caches.

A pass lists the container, downloads what is new or changed (by ETag) beside the folder, then moves it in, older blobs
first, and removes what is gone. A reader never sees half a file, nor a ``saved_model.pb`` before the files that were
uploaded ahead of it.
"""

import asyncio
import contextlib
import json
import logging
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from types import TracebackType

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from localcloud.kubelet import background

_log = logging.getLogger(__name__)
_LAST = "saved_model.pb"
_SECONDS = 60  # of a single request


class MirrorError(Exception):
    """The container cannot be mounted; the message is for the pod's events."""


@dataclass(frozen=True)
class RemoteBlob:
    """A blob as listed; ``modified`` has whole seconds, as the service gives it."""

    name: str
    etag: str
    modified: datetime

    @property
    def order(self) -> tuple[datetime, bool, str]:
        """Sorts blobs as they were uploaded, and ``saved_model.pb`` last where that cannot be told apart."""
        return (self.modified, PurePosixPath(self.name).name == _LAST, self.name)


class BlobMirrors:
    """One folder per container, shared by the pods that use it and refreshed while any does."""

    def __init__(self, connection_string: str, folder: Path, *, poll_seconds: float = 1.0) -> None:
        self._service = BlobServiceClient.from_connection_string(
            connection_string, connection_timeout=10, read_timeout=_SECONDS, retry_total=0
        )
        self._folder = folder
        self._poll_seconds = poll_seconds
        self._mirrors: dict[str, _Mirror] = {}
        self._users: dict[str, int] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> "BlobMirrors":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._polls.values():
            task.cancel()
        await asyncio.gather(*self._polls.values(), return_exceptions=True)
        await self._service.close()

    async def mount(self, container: str) -> Path:
        """The folder of ``container``, up to date now and kept so until `unmount`. Raises `MirrorError`."""
        mirror = self._mirrors.get(container)
        if mirror is None:
            client = self._service.get_container_client(container)
            mirror = self._mirrors[container] = _Mirror(client, self._folder / container)
        try:
            await mirror.refresh()
        except ResourceNotFoundError as error:
            raise MirrorError(f"blob container {container} does not exist in the storage account") from error
        except AzureError as error:
            raise MirrorError(f"blob container {container} cannot be read: {error}") from error
        self._users[container] = self._users.get(container, 0) + 1
        if container not in self._polls:
            self._polls[container] = background.start(self._poll(mirror), f"mirror of {container}")
        return mirror.tree

    def unmount(self, container: str) -> None:
        """Ends one use of a mounted container; without users it is no longer refreshed."""
        self._users[container] -= 1
        if self._users[container] == 0:
            self._polls.pop(container).cancel()

    async def _poll(self, mirror: "_Mirror") -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await mirror.refresh()
            except AzureError as error:
                _log.warning("mirror %s not refreshed, tried again in %s s: %s", mirror.tree, self._poll_seconds, error)


class _Mirror:
    def __init__(self, client: ContainerClient, folder: Path) -> None:
        self._client = client
        self._index = folder / "index.json"
        self._incoming = folder / "incoming"
        self.tree = folder / "tree"
        self._lock = asyncio.Lock()
        self._left_out: set[tuple[str, str]] = set()
        self.tree.mkdir(parents=True, exist_ok=True)
        self._etags: dict[str, str] = json.loads(self._index.read_text()) if self._index.exists() else {}

    async def refresh(self) -> None:
        """One pass. Raises `AzureError` where the storage cannot be read; the folder then stays as it was."""
        async with self._lock:
            blobs = {blob.name: blob for blob in await self._listed()}
            gone = self._etags.keys() - blobs.keys()
            changed = sorted(
                (each for each in blobs.values() if self._etags.get(each.name) != each.etag),
                key=lambda each: each.order,
            )
            if not gone and not changed:
                return
            self._incoming.mkdir(exist_ok=True)
            try:
                arrived = [each for each in changed if await self._download(each)]
                for name in gone:
                    self._remove(name)
                for blob in arrived:
                    self._place(blob)
                self._save()
            finally:
                shutil.rmtree(self._incoming)

    async def _listed(self) -> list[RemoteBlob]:
        blobs = []
        async for each in self._client.list_blobs(include=["metadata"], timeout=_SECONDS):
            if (each.metadata or {}).get("hdi_isfolder") == "true":
                continue  # a directory's marker in accounts with a hierarchical namespace
            if any(part in ("", ".", "..") for part in each.name.split("/")) or "\\" in each.name:
                _log.warning("blob %r left out: its name is not a relative path", each.name)
                continue
            if (each.name, each.etag) not in self._left_out:
                blobs.append(RemoteBlob(each.name, each.etag, each.last_modified))
        return blobs

    def _part(self, blob: RemoteBlob) -> Path:
        return self._incoming / blob.name.replace("/", "\\")

    async def _download(self, blob: RemoteBlob) -> bool:
        """Fetches just the listed content; False where it changed meanwhile, which the next pass sees."""
        try:
            stream = await self._client.download_blob(
                blob.name, etag=blob.etag, match_condition=MatchConditions.IfNotModified, timeout=_SECONDS
            )
            with self._part(blob).open("wb") as file:
                async for chunk in stream.chunks():
                    file.write(chunk)
        except (ResourceModifiedError, ResourceNotFoundError):
            return False
        self._part(blob).chmod(0o444)
        return True

    def _place(self, blob: RemoteBlob) -> None:
        target = self.tree / blob.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._part(blob).replace(target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            _log.warning("blob %r left out: its name is both a file's and a folder's", blob.name)
            self._left_out.add((blob.name, blob.etag))
            return
        self._etags[blob.name] = blob.etag

    def _remove(self, name: str) -> None:
        path = self.tree / name
        path.unlink(missing_ok=True)
        del self._etags[name]
        for parent in path.parents:
            if parent == self.tree:
                break
            with contextlib.suppress(OSError):  # it holds other files
                parent.rmdir()

    def _save(self) -> None:
        partial = self._index.with_suffix(".partial")
        partial.write_text(json.dumps(self._etags))
        partial.replace(self._index)
