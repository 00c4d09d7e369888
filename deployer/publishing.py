"""Publishes a verified servable as a version: everything else first, ``saved_model.pb`` last.

TensorFlow Serving takes a directory for a model when ``saved_model.pb`` is in it, so a version is visible when it is whole.
From then on it is never written again: of two that publish the same version, the one that comes second finds it there.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from deployer.ports import BlobRef, Lease, ServableStore
from exporter import Manifest, VerifiedServable

_LAST = "saved_model.pb"


def publish(
    servable: VerifiedServable,
    store: ServableStore,
    lease: Lease,
    *,
    model: str,
    version: int,
    copies: Mapping[str, BlobRef],
) -> int:
    """Brings the servable to ``MODEL/VERSION/``; returns its size in bytes.

    ``copies``: files that lie in the drop container with the very same content, so that storage copies them itself.
    Safe to repeat: what an interrupted publish of this version left behind is replaced or removed.

    Raises:
        LeaseLost: another instance may be at the same work by now.
        Conflict: an upload to be copied changed, or the version was published meanwhile.
    """
    prefix = f"{model}/{version}/"
    files = {
        path.relative_to(servable.directory).as_posix(): path
        for path in servable.directory.rglob("*")
        if path.is_file()
    }  # fmt: skip
    for blob in list(store.listing(prefix)):
        if blob.name.removeprefix(prefix) not in files:
            store.remove(blob.name)
    for name in sorted(files, key=lambda name: (name == _LAST, name)):
        lease.check()
        if name in copies:
            store.copy(prefix + name, copies[name], replace=name != _LAST)
        else:
            store.upload(prefix + name, files[name], replace=name != _LAST)
    return sum(path.stat().st_size for path in files.values())


def published_size(store: ServableStore, model: str, version: int) -> int | None:
    """The size in bytes of a version whose publish has finished; None where it has not."""
    prefix = f"{model}/{version}/"
    sizes = {blob.name.removeprefix(prefix): blob.size for blob in store.listing(prefix)}
    return sum(sizes.values()) if _LAST in sizes else None


def unpublish(store: ServableStore, model: str, version: int | None = None) -> None:
    """Removes the files of a version, or of all: ``saved_model.pb`` first, so that no part of one is taken for a whole."""
    prefix = f"{model}/" if version is None else f"{model}/{version}/"
    names = [blob.name for blob in store.listing(prefix)]
    for name in sorted(names, key=lambda name: (not name.endswith(f"/{_LAST}"), name)):
        store.remove(name)


def unchanged(source: Path, files: Mapping[str, BlobRef], manifest: Manifest) -> dict[str, BlobRef]:
    """Which files of a servable are in the uploaded directory ``source`` as they are, each with the blob it came as."""
    return {
        name: blob
        for name, blob in files.items()
        if (made := manifest.files.get(name)) is not None
        and made.bytes == blob.size
        and made.sha256 == _sha256(source / name)
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
