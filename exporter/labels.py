"""The names of a classifier's classes: where they come from, and what they may be."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from exporter.archive_rules import too_large
from exporter.errors import BadOptions, Stage
from exporter.limits import ScanBounds
from exporter.options import ExportOptions

DEFAULT_NAME = "labels.txt"

ReadInside = Callable[[str], bytes | None]
"""The bytes of a file inside the archive or directory, or None where there is no such file."""


@dataclass(frozen=True)
class Labels:
    """Class names in the order of the model's outputs, and where they were found."""

    names: tuple[str, ...]
    found: str


def resolve(options: ExportOptions, beside: Path | None, inside: ReadInside, bounds: ScanBounds) -> Labels | None:
    """The labels of a model: the options' own list or file, else the file beside it, else labels.txt inside it.

    ``beside`` is the file next to the upload: NAME.labels.txt, or the one that the options name.

    Raises:
        BadOptions: the file that the options name is nowhere, or a file holds no proper labels.
    """
    match options.labels:
        case tuple() as names:
            return Labels(names, "the options")
        case str() as name:
            return _named(name, beside, inside, bounds)
        case None if beside is not None:
            return Labels(parse(_read(beside, bounds), beside.name), beside.name)
        case None:
            content = inside(DEFAULT_NAME)
            return None if content is None else Labels(parse(content, DEFAULT_NAME), f"{DEFAULT_NAME} inside the model")


def parse(content: bytes, where: str) -> tuple[str, ...]:
    """One label a line, in UTF-8, blank lines at the end ignored.

    Raises:
        BadOptions: it is no text, or a line between is blank or has control characters.
    """
    try:
        lines = content.decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise _bad(f"'{where}' is no UTF-8 text: {error.reason} at byte {error.start}.") from error
    labels = tuple(line.strip() for line in lines)
    if not labels:
        raise _bad(f"'{where}' has no labels in it.")
    for number, label in enumerate(labels, start=1):
        if not label:
            raise _bad(f"'{where}', line {number}, is blank.")
        if any(ord(character) < 32 for character in label):
            raise _bad(f"'{where}', line {number}, has control characters in it.")
    return labels


def _named(name: str, beside: Path | None, inside: ReadInside, bounds: ScanBounds) -> Labels:
    if beside is not None:
        return Labels(parse(_read(beside, bounds), name), name)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _bad(f"labels: '{name}' is not a file beside or inside the model.")
    content = inside(name)
    if content is None:
        raise _bad(f"labels: there is no '{name}' beside the model or inside it.")
    return Labels(parse(content, name), f"{name} inside the model")


def _read(path: Path, bounds: ScanBounds) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(bounds.labels_bytes + 1)
    except OSError as error:
        raise _bad(f"The label file '{path.name}' cannot be read ({error.strerror}).") from error
    if len(content) > bounds.labels_bytes:
        raise too_large(path.name, bounds.labels_bytes)
    return content


def _bad(message: str) -> BadOptions:
    return BadOptions(
        message, hint="Labels are a text file with one class name a line.", stage=Stage.SCAN, code="bad_labels"
    )
