"""The options that a model brings along: ``slipway.yaml`` in the directory of a SavedModel, or beside it in its archive."""

from pathlib import Path

from exporter import archive, formats
from exporter.errors import BadOptions, Stage
from exporter.formats import Packaging, SourceFormat
from exporter.limits import ScanBounds

OPTIONS = "slipway.yaml"


def options_inside(source: Path, bounds: ScanBounds | None = None) -> str | None:
    """The text of the options file in a model's directory or archive, or None where there is none.

    Raises:
        NotAModel, Unsupported, ScanRefused: as a scan would say of the model.
        BadOptions: it is no text.
    """
    bounds = bounds or ScanBounds()
    recognised = formats.recognise(source, bounds)
    if recognised.packed:
        # The root of a SavedModel is its folder, that of a Keras file the file itself.
        folder = recognised.root if recognised.format is SourceFormat.SAVED_MODEL else _folder_of(recognised.root)
        content = archive.read_member(source, folder + OPTIONS, at_most=bounds.labels_bytes, bounds=bounds)
    elif recognised.packaging is Packaging.DIRECTORY:
        content = read(source / OPTIONS, bounds)
    else:
        return None
    try:
        return None if content is None else content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadOptions(
            f"'{OPTIONS}' in '{source.name}' is no UTF-8 text: {error.reason} at byte {error.start}.",
            hint="Save it as UTF-8.",
            stage=Stage.SCAN,
        ) from error


def _folder_of(member: str) -> str:
    folder, slash, _ = member.rpartition("/")
    return folder + slash


def read(file: Path, bounds: ScanBounds) -> bytes | None:
    """A small file in a model's directory, or None where there is none.

    Raises:
        ScanRefused: it is larger than such files are.
    """
    if file.is_symlink() or not file.is_file():
        return None
    with file.open("rb") as opened:
        content = opened.read(bounds.labels_bytes + 1)
    if len(content) > bounds.labels_bytes:
        raise archive.too_large(f"{file.parent.name}/{file.name}", bounds.labels_bytes)
    return content
