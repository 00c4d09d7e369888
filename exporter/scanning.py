"""The first stage of an export: what a file is and whether it may be loaded at all.

1. recognise the format by content and name (``formats``)
2. check archive members, directory entries, the model's own description (``keras_scan``, ``saved_model_scan``)
3. find the labels (``labels``)
4. digest the content and the options that affect the export

A scan reads, and never loads: it runs in the calling process, needs neither TensorFlow nor Keras, and executes nothing
that it finds.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter import archive, formats, keras_scan, saved_model_scan
from exporter.errors import BadOptions, ConversionFailed, Finding, NotAModel, ScanRefused, Stage
from exporter.formats import Packaging, Source, SourceFormat
from exporter.labels import Labels
from exporter.labels import resolve as resolve_labels
from exporter.limits import MIB, ScanBounds
from exporter.options import ExportOptions

_CHUNK = 1 * MIB


@dataclass(frozen=True)
class ScanReport:
    """A model that may be loaded, and all that its conversion depends on.

    ``sha256`` is of the content alone; ``digest`` of the content, the labels and the options: the same digest gives an
    equal servable, so it is an upload's identity.
    """

    source: Source
    options: ExportOptions
    labels: Labels | None
    sha256: str
    digest: str
    bytes: int
    keras_version: str | None
    bounds: ScanBounds
    seconds: float


def scan(
    source: Path, options: ExportOptions, *, labels: Path | None = None, bounds: ScanBounds | None = None
) -> ScanReport:
    """Says what ``source`` is, and that it may be converted.

    ``labels`` is the label file beside the upload, if there is one: NAME.labels.txt or the file that the options name.

    Raises:
        NotAModel: it is no model, or a damaged one.
        Unsupported: a model of a kind that is not converted.
        ScanRefused: it could run code or harm the machine.
        BadOptions: the labels are nowhere or no labels, or options were given that do nothing for this format.
    """
    started = time.monotonic()
    bounds = bounds or ScanBounds()
    recognised = formats.recognise(source, bounds)
    keras_version = _check(recognised, bounds)
    found = _labels(recognised, options, labels, bounds)
    sha256, size = content_digest(source, bounds)
    return ScanReport(
        source=recognised,
        options=options,
        labels=found,
        sha256=sha256,
        digest=_identity(sha256, options, found),
        bytes=size,
        keras_version=keras_version,
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


def _check(source: Source, bounds: ScanBounds) -> str | None:
    """Refuses what may not be loaded; returns the Keras version that wrote it, where that is known."""
    name = source.path.name
    if source.format is SourceFormat.KERAS:
        config = _required(source, formats.KERAS_CONFIG, bounds.config_bytes)
        return keras_scan.check(config, _inside(source, "metadata.json", bounds), name=name).keras_version
    if source.packaging is Packaging.DIRECTORY:
        directory_files(source.path, bounds)
    saved_model_scan.check(_required(source, formats.SAVED_MODEL, bounds.graph_bytes), name=name)
    return None


def _labels(source: Source, options: ExportOptions, beside: Path | None, bounds: ScanBounds) -> Labels | None:
    if source.format is SourceFormat.KERAS:
        return resolve_labels(options, beside, lambda name: _inside(source, name, bounds), bounds)
    given = [name for name in ("labels", "image", "logits") if getattr(options, name) is not None]
    if given or beside is not None:
        raise BadOptions(
            f"'{source.path.name}' is a SavedModel, which is served with its own signatures; "
            f"{given[0] if given else beside} can do nothing for it.",
            hint="Leave it out, or upload the Keras model instead, which gets a classify_image signature.",
            stage=Stage.SCAN,
            code="option_without_effect",
        )
    return None


def _required(source: Source, name: str, at_most: int) -> bytes:
    content = _read(source, name, at_most)
    if content is None:  # recognised by this very file, so it went away since
        raise NotAModel(f"'{source.path.name}' has no {name}.", hint="Upload it again.", stage=Stage.SCAN)
    return content


def _inside(source: Source, name: str, bounds: ScanBounds) -> bytes | None:
    return _read(source, name, bounds.labels_bytes)


def _read(source: Source, name: str, at_most: int) -> bytes | None:
    """A file of the model by its name in it, or None where there is none."""
    if source.packaging is Packaging.DIRECTORY:
        file = source.path / name
        if not file.is_file():
            return None
        if file.stat().st_size > at_most:
            raise archive.too_large(f"{source.path.name}/{name}", at_most)
        return file.read_bytes()
    return archive.read_member(source.path, source.root + name, at_most=at_most)


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
