"""The first stage of an export: what a file is and whether it may be loaded at all.

1. recognise the format by content and name (``formats``)
2. check archive members, directory entries, weights (``hdf5_scan``), the model's own description (``keras_scan``,
   ``saved_model_scan``), and say what is to load it
3. find the labels (``labels``)
4. digest the content and the options that affect the export

A scan reads, and never loads: it runs in the calling process, needs neither TensorFlow nor Keras, and executes nothing
that it finds.
"""

import hashlib
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter import archive, formats, hdf5_scan, keras_scan, saved_model_scan, zip_archive
from exporter.errors import BadOptions, ConversionFailed, Finding, NotAModel, ScanRefused, Stage, Unsupported
from exporter.formats import Packaging, Source, SourceFormat
from exporter.keras_scan import KerasModel, Loader
from exporter.labels import DEFAULT_NAME as DEFAULT_LABELS
from exporter.labels import Labels
from exporter.labels import resolve as resolve_labels
from exporter.limits import MIB, ScanBounds
from exporter.opened import Opened, opened
from exporter.options import ExportOptions
from exporter.workspace import temporary

_CHUNK = 1 * MIB


@dataclass(frozen=True)
class ScanReport:
    """A model that may be loaded, and all that its conversion depends on.

    ``sha256`` is of the content alone; ``digest`` of the content, the labels and the options: the same digest gives an
    equal servable, so it is an upload's identity. ``loader`` is what turns the model into a servable.
    """

    source: Source
    options: ExportOptions
    labels: Labels | None
    sha256: str
    digest: str
    bytes: int
    keras_version: str | None
    loader: Loader
    allowed_layers: frozenset[str]
    bounds: ScanBounds
    seconds: float


def scan(
    source: Path,
    options: ExportOptions,
    *,
    labels: Path | None = None,
    bounds: ScanBounds | None = None,
    allowed_layers: Collection[str] = (),
) -> ScanReport:
    """Says what ``source`` is, and that it may be converted.

    ``labels`` is the label file beside the upload, if there is one: NAME.labels.txt or the file that the options name.
    ``allowed_layers`` are classes that are trusted beside Keras's own, as MODULE.CLASS; the converting process imports them.

    Raises:
        NotAModel: it is no model, or a damaged one.
        Unsupported: a model of a kind that is not converted.
        ScanRefused: it could run code or harm the machine.
        BadOptions: the labels are nowhere or no labels, or options were given that do nothing for this format.
    """
    started = time.monotonic()
    bounds = bounds or ScanBounds()
    allowed = frozenset(allowed_layers)
    with opened(source, bounds, *_label_files(options)) as model:
        found = _check(model, allowed)
        label_names = _labels(model, options, labels)
    sha256, size = content_digest(source, bounds)
    return ScanReport(
        source=model.source,
        options=options,
        labels=label_names,
        sha256=sha256,
        digest=_identity(sha256, options, label_names),
        bytes=size,
        keras_version=found.keras_version if found else None,
        loader=found.loader if found else Loader.REPACKAGE,
        allowed_layers=allowed,
        bounds=bounds,
        seconds=time.monotonic() - started,
    )


def content_digest(path: Path, bounds: ScanBounds) -> tuple[str, int]:
    """SHA-256 and size of a file's bytes, or of a directory's relative paths and bytes."""
    total = hashlib.sha256()
    if path.is_file():
        return _feed(total, path)
    size = 0
    for file in directory_files(path, bounds):
        content = hashlib.sha256()
        digest, length = _feed(content, file)
        total.update(json.dumps([file.relative_to(path).as_posix(), length, digest]).encode() + b"\n")
        size += length
    return total.hexdigest(), size


def directory_files(path: Path, bounds: ScanBounds) -> list[Path]:
    """The regular files below a directory, in the order of their relative paths.

    Raises:
        ScanRefused: a link or a special file is among them, or they are too many.
    """
    files: list[Path] = []
    for entry in _walk(path):
        where = entry.relative_to(path).as_posix()
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise _unsafe_directory(path, Finding(where, "is a link or a special file"))
        if entry.is_file():
            files.append(entry)
        if len(files) > bounds.members:
            raise _unsafe_directory(path, Finding(where, f"is one of more than {bounds.members} files"))
    return sorted(files, key=lambda file: file.relative_to(path).as_posix())


def require_unchanged(report: ScanReport) -> None:
    """Raises ConversionFailed if the source is no longer what was scanned."""
    sha256, _ = content_digest(report.source.path, report.bounds)
    if sha256 != report.sha256:
        raise ConversionFailed(
            f"'{report.source.path.name}' changed after it was scanned.",
            hint="Scan it again.",
            stage=Stage.LOAD,
            code="source_changed",
            permanent=False,
        )


def _label_files(options: ExportOptions) -> list[str]:
    return [options.labels] if isinstance(options.labels, str) else [DEFAULT_LABELS]


def _check(opened_model: Opened, allowed: frozenset[str]) -> KerasModel | None:
    """Refuses what may not be loaded; of a Keras model, says what wrote it."""
    source, model, bounds = opened_model.source, opened_model.model, opened_model.bounds
    name = source.path.name + (f"!{source.root}" if source.packed and source.root else "")
    if source.format is SourceFormat.SAVED_MODEL:
        if source.packaging is Packaging.DIRECTORY:
            directory_files(source.path, bounds)
        saved_model_scan.check(opened_model.graph(), name=source.path.name)
        return None
    # A file out of an archive is what its own content says, as any other.
    kind = formats.recognise_inside(model, bounds) if source.packed else source.format
    return (
        _check_hdf5(model, name, bounds, allowed)
        if kind is SourceFormat.HDF5
        else _check_keras(model, name, bounds, allowed)
    )


def _check_hdf5(model: Path, name: str, bounds: ScanBounds, allowed: frozenset[str]) -> KerasModel:
    found = hdf5_scan.check(model, name=name, bounds=bounds)
    config = found.attributes.get("model_config")
    if config is None:
        what = "holds weights without a model" if found.top else "is an HDF5 file without a Keras model"
        raise Unsupported(
            f"'{name}' {what}, which is not converted.",
            hint="Save the whole model where it was made: model.save('NAME.keras').",
            stage=Stage.SCAN,
            code="weights_only",
        )
    return keras_scan.check_hdf5(config, found.attributes.get("keras_version"), name=name, allowed=allowed)


def _check_keras(model: Path, name: str, bounds: ScanBounds, allowed: frozenset[str]) -> KerasModel:
    members = [member.name for member in archive.list_members(model, bounds)]
    config = archive.read_member(model, formats.KERAS_CONFIG, at_most=bounds.config_bytes, bounds=bounds)
    metadata = archive.read_member(model, formats.KERAS_METADATA, at_most=bounds.config_bytes, bounds=bounds)
    if config is None:
        raise NotAModel(f"'{name}' has no {formats.KERAS_CONFIG}.", hint="Upload it again.", stage=Stage.SCAN)
    found = keras_scan.check_keras_file(config, metadata, name=name, allowed=allowed)
    weights = [member for member in members if member.endswith((".h5", ".hdf5"))]
    if not weights:
        raise NotAModel(
            f"'{name}' has no {formats.KERAS_WEIGHTS}, so no weights.",
            hint="Save it again with model.save('NAME.keras'), and upload the file whole.",
            stage=Stage.SCAN,
            code="no_weights",
        )
    for member in weights:
        _check_weights(model, member, f"{name}!{member}", bounds)
    return found


def _check_weights(model: Path, member: str, name: str, bounds: ScanBounds) -> None:
    if (part := zip_archive.stored_at(model, member)) is not None:
        hdf5_scan.check(model, name=name, bounds=bounds, part=part)
        return
    with temporary() as directory:
        weights = directory / formats.KERAS_WEIGHTS
        archive.extract_member(model, member, weights, bounds)
        hdf5_scan.check(weights, name=name, bounds=bounds)


def _labels(model: Opened, options: ExportOptions, beside: Path | None) -> Labels | None:
    def inside(name: str) -> bytes | None:
        content = model.beside(name)
        return model.within(name) if content is None else content

    found = resolve_labels(options, beside, inside, model.bounds)
    given = [name for name in ("image", "logits") if getattr(options, name) is not None]
    if found is None and given:
        raise BadOptions(
            f"'{model.source.path.name}' has no labels, and without them {given[0]} does nothing: "
            "it is for classify_image.",
            hint=f"Put the class names beside the model, one a line, or into the options; or leave {given[0]} out.",
            stage=Stage.SCAN,
            code="option_without_effect",
        )
    return found


def _identity(sha256: str, options: ExportOptions, found: Labels | None) -> str:
    affecting = options.model_dump(mode="json", exclude={"labels"})
    affecting["labels"] = list(found.names) if found else None
    canonical = json.dumps({"content": sha256, "options": affecting}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _feed(digest: "hashlib._Hash", path: Path) -> tuple[str, int]:
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _walk(path: Path) -> Iterator[Path]:
    pending = [path]
    while pending:
        for entry in pending.pop().iterdir():
            yield entry
            if entry.is_dir() and not entry.is_symlink():
                pending.append(entry)


def _unsafe_directory(path: Path, finding: Finding) -> ScanRefused:
    return ScanRefused(
        f"'{path.name}' is refused as a directory: {finding}.",
        hint="Upload the model's own files and nothing else.",
        code="unsafe_archive",
        findings=[finding],
    )
