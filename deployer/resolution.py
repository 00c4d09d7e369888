"""Which blobs make one upload. Pure.

A model dropped as ``STEM`` is one file ``STEM.keras`` (``.zip`` …) or the blobs under ``STEM/``; where several lie there, the
newest is meant. Options and labels lie beside it (``STEM.yaml``, ``STEM.labels.txt``) or, for a directory, in it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from deployer.errors import UploadRefused
from deployer.names import DirectoryPart, ModelFile, Sidecar, part_of
from deployer.ports import BlobRef


@dataclass(frozen=True)
class Upload:
    """One upload as it lies in the drop container.

    ``blobs`` are the model's own, ``sidecars`` lie beside it; ``primary`` carries the tags and gives the ETag shown.
    """

    model: str
    stem: str
    primary: BlobRef
    blobs: tuple[BlobRef, ...]
    sidecars: tuple[BlobRef, ...]

    @property
    def directory(self) -> bool:
        """Whether it is a SavedModel directory."""
        return "/" in self.primary.name

    @property
    def fingerprint(self) -> str:
        """Identifies these very blobs, without reading them."""
        listed = sorted((blob.name, blob.etag) for blob in (*self.blobs, *self.sidecars))
        return hashlib.sha256(repr(listed).encode()).hexdigest()

    @property
    def newest(self) -> datetime:
        """When the last of the model's own blobs came."""
        return max(blob.modified for blob in self.blobs)

    def path_of(self, blob: BlobRef) -> PurePosixPath:
        """The blob's path inside the upload: below ``STEM/`` for a directory, else its own name."""
        return PurePosixPath(blob.name.removeprefix(f"{self.stem}/") if self.directory else blob.name)


def resolve(stem: str, listed: Iterable[BlobRef]) -> Upload | None:
    """The upload dropped as ``stem``, among the blobs whose names begin so; None where only sidecars lie there."""
    files: list[BlobRef] = []
    parts: list[BlobRef] = []
    sidecars: list[BlobRef] = []
    model = ""
    for blob in listed:
        try:
            part = part_of(blob.name)
        except UploadRefused:
            continue  # told to its uploader by its own event
        if part.stem != stem:
            continue
        model = part.model
        match part:
            case ModelFile():
                files.append(blob)
            case DirectoryPart(path=path) if path and not path.endswith("/"):  # some tools make blobs for folders
                parts.append(blob)
            case Sidecar():
                sidecars.append(blob)
    newest_file = max(files, key=_age, default=None)
    root = next((blob for blob in parts if blob.name == f"{stem}/saved_model.pb"), None)
    newest_part = max(parts, key=_age, default=None)
    if newest_part is not None and (newest_file is None or _age(newest_part) > _age(newest_file)):
        return Upload(model, stem, root or newest_part, tuple(parts), tuple(sidecars))
    if newest_file is None:
        return None
    return Upload(model, stem, newest_file, (newest_file,), tuple(sidecars))


def newest_uploads(listed: Iterable[BlobRef]) -> dict[str, Upload]:
    """The uploads in the whole drop container, by model: of several for one model, the newest."""
    stems: dict[str, list[BlobRef]] = {}
    for blob in listed:
        try:
            stems.setdefault(part_of(blob.name).stem, []).append(blob)
        except UploadRefused:
            continue  # told to its uploader by its own event
    newest: dict[str, Upload] = {}
    for stem, blobs in stems.items():
        upload = resolve(stem, blobs)
        other = newest.get(upload.model) if upload else None
        if upload and (other is None or other.primary.modified < upload.primary.modified):
            newest[upload.model] = upload
    return newest


def _age(blob: BlobRef) -> tuple[float, str]:
    return blob.modified.timestamp(), blob.name
