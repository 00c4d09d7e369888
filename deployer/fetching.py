"""Brings an upload to this machine: the model's blobs, its options, and the labels beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deployer.errors import UploadRefused
from deployer.options import ModelOptions, parse_options
from deployer.ports import BlobRef, UploadStore
from deployer.resolution import Upload

OptionsInside = Callable[[Path], str | None]


@dataclass(frozen=True)
class Fetched:
    """An upload on this machine. ``files``: of a directory, each file's blob by its path in it."""

    source: Path
    options: ModelOptions
    labels: Path | None
    files: Mapping[str, BlobRef]


def fetch(upload: Upload, store: UploadStore, options_inside: OptionsInside, folder: Path) -> Fetched:
    """Downloads the upload into a folder that does not exist yet.

    Raises:
        Conflict: a blob changed since it was looked at.
        UploadRefused: ``bad_options``, or a name that climbs out of its folder.
    """
    folder.mkdir()
    root = folder / upload.stem if upload.directory else folder
    for blob in upload.blobs:
        target = root / upload.path_of(blob)
        if not target.resolve().is_relative_to(folder.resolve()):
            raise UploadRefused("bad_name", f"'{blob.name}' climbs out of its folder.", "Rename it.", stage="name")
        target.parent.mkdir(parents=True, exist_ok=True)
        store.download(blob, target)
    beside: dict[str, Path] = {}
    for blob in upload.sidecars:
        beside[blob.name.removeprefix(upload.stem)] = folder / blob.name
        store.download(blob, folder / blob.name)
    source = root if upload.directory else root / upload.primary.name
    if (chosen := beside.get(".yaml")) is not None:
        options = parse_options(chosen.read_text(encoding="utf-8", errors="replace"), where=chosen.name)
    else:
        options = parse_options(options_inside(source), where=f"slipway.yaml in {source.name}")
    named = options.export.labels
    labels = _named_labels(named, store, folder) if isinstance(named, str) else beside.get(".labels.txt")
    files = {str(upload.path_of(blob)): blob for blob in upload.blobs} if upload.directory else {}
    return Fetched(source, options, labels, files)


def _named_labels(named: str, store: UploadStore, folder: Path) -> Path | None:
    """The label file that the options name, where it lies in the container; else it is looked for inside the model."""
    found = store.find(named)
    if found is None:
        return None
    target = folder / "labels" / PurePosixPath(found.name).name
    target.parent.mkdir()
    store.download(found, target)
    return target
