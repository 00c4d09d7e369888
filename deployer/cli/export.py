"""Use case: a model file becomes a verified servable in a folder, on this machine alone.

1. find the options and labels beside the model, inside it, or as given
2. scan, which reads and never loads
3. convert and verify (``exporter.export``), which puts the folder there whole or not at all

An interrupt at any moment ends the conversion and leaves nothing behind; a second one does not disturb the first's
tidying up.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import exporter
from deployer.cli.errors import Failed, Usage
from deployer.errors import UploadRefused
from deployer.names import MODEL_SUFFIXES, sidecar_blobs
from deployer.options import parse_options
from exporter import ExportError, ExportOptions, ScanRefused, Stage

START = "start"
"""Beside the exporter's own stages: the converting process imports TensorFlow."""


@dataclass(frozen=True)
class Sidecars:
    """What lies beside a model: the file of its options and that of its labels, where there are any."""

    options: Path | None
    labels: Path | None
    labels_given: bool = False
    """The labels were given by hand, and so go before what the options say of them."""


def find_sidecars(path: Path, *, options: Path | None, labels: Path | None) -> Sidecars:
    """The files given, else NAME.yaml and NAME.labels.txt.

    Raises:
        Usage: there is no model at ``path``, or a file that was given is not there.
    """
    if not path.exists():
        raise Usage(
            "no_such_file", f"There is no file or folder '{path}'.",
            "Give the path of a model file or a SavedModel folder.",
        )  # fmt: skip
    for given in (options, labels):
        if given is not None and not given.is_file():
            raise Usage("no_such_file", f"There is no file '{given}'.", "Correct the path, or leave it out.")
    model = path.resolve()
    beside = [model.parent / name for name in sidecar_blobs(_stem(model))]
    own_options, own_labels = (file if file.is_file() else None for file in beside)
    return Sidecars(options or own_options, labels or own_labels, labels_given=labels is not None)


def export(path: Path, destination: Path, sidecars: Sidecars, on_stage: Callable[[str], None]) -> dict[str, Any]:
    """Makes the servable; returns what ``--json`` prints: ``servable.json`` without the golden exchanges.

    Raises:
        Usage: there is something at the destination already.
        Failed: the options, the scan, the conversion or the verification refused the model; nothing is left.
        KeyboardInterrupt: SIGINT or SIGTERM came; nothing is left.
    """
    if destination.exists() or destination.is_symlink():
        raise Usage(
            "destination_exists", f"'{destination}' exists already.",
            "Name a folder that does not exist yet: it appears once the servable is verified.",
        )  # fmt: skip
    with _interruptible(), _new_folders_removed_on_failure(destination):
        try:
            return _export(path, destination, sidecars, on_stage)
        except UploadRefused as refused:
            raise Failed(refused.code, refused.message, refused.hint, stage=refused.stage, permanent=True) from refused
        except ExportError as error:
            raise Failed(error.code, error.message, error.hint, **_details(error)) from error
        except OSError as error:
            message = f"'{error.filename or destination}' cannot be read or written: {error.strerror or error}."
            raise Failed("file_system", message, "Check the folder's rights and the space on its disk.") from error
        finally:
            exporter.shutdown()


def _export(path: Path, destination: Path, sidecars: Sidecars, on_stage: Callable[[str], None]) -> dict[str, Any]:
    on_stage(Stage.SCAN)
    if sidecars.options is not None:
        text = sidecars.options.read_text(encoding="utf-8", errors="replace")
        options = parse_options(text, where=str(sidecars.options)).export
    else:
        options = parse_options(exporter.options_inside(path), where=f"slipway.yaml in {path}").export
    if sidecars.labels_given:
        options = options.model_copy(update={"labels": None})
    report = exporter.scan(path, options, labels=_labels_file(sidecars, options))
    on_stage(START)
    servable = exporter.export(report, destination, on_stage=on_stage)
    manifest = servable.manifest.model_dump(mode="json", by_alias=True, exclude={"golden"})
    return {"directory": str(servable.directory), "digest": report.digest} | manifest


def _labels_file(sidecars: Sidecars, options: ExportOptions) -> Path | None:
    """The label file beside the model: the one that the options name, which may also be inside it, or NAME.labels.txt."""
    match options.labels:
        case None:
            return sidecars.labels
        case str(name) if sidecars.options is not None:
            folder = sidecars.options.parent.resolve()
            named = folder / name
            return named if named.is_file() and named.resolve().is_relative_to(folder) else None
        case _:
            return None  # a list, or a file that is inside the model as its options are


def _stem(model: Path) -> str:
    """The name that a model's sidecars share: a file's without its suffix, a folder's own."""
    suffix = next((suffix for suffix in MODEL_SUFFIXES if model.name.lower().endswith(suffix)), "")
    return model.name if model.is_dir() else model.name[: len(model.name) - len(suffix)]


def _details(error: ExportError) -> Mapping[str, Any]:
    details: dict[str, Any] = {"stage": error.stage.value, "permanent": error.permanent}
    if isinstance(error, ScanRefused):
        details["findings"] = [{"where": found.where, "what": found.what} for found in error.findings]
    return details


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise KeyboardInterrupt once; from then on they do nothing until the end."""

    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _new_folders_removed_on_failure(destination: Path) -> Iterator[None]:
    """The parents of ``destination`` that are made on the way to it go again if it does not appear."""
    made = [folder for folder in destination.absolute().parents if not folder.exists()]
    try:
        yield
    finally:
        if not destination.exists():
            for folder in made:  # the innermost first
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
