"""The options that a model brings along: ``slipway.yaml`` in the directory of a SavedModel, or beside it in its archive."""

from pathlib import Path

from exporter.errors import BadOptions, Stage
from exporter.limits import ScanBounds
from exporter.opened import opened

OPTIONS = "slipway.yaml"


def options_inside(source: Path, bounds: ScanBounds | None = None) -> str | None:
    """The text of the options file in a model's directory or archive, or None where there is none.

    Raises:
        NotAModel, Unsupported, ScanRefused: as a scan would say of the model.
        BadOptions: it is no text.
    """
    with opened(source, bounds or ScanBounds(), OPTIONS, whole=False) as found:
        content = found.beside(OPTIONS)
    try:
        return None if content is None else content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadOptions(
            f"'{OPTIONS}' in '{source.name}' is no UTF-8 text: {error.reason} at byte {error.start}.",
            hint="Save it as UTF-8.",
            stage=Stage.SCAN,
        ) from error
