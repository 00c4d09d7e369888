"""What a file is, by its content first and its name second."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from exporter.archive import list_members
from exporter.errors import ExportError, NotAModel, Stage, Unsupported
from exporter.limits import ScanBounds

SAVED_MODEL = "saved_model.pb"
KERAS_CONFIG = "config.json"
KERAS_WEIGHTS = "model.weights.h5"
ACCEPTED = "a Keras 3 file (.keras), or a SavedModel as a directory or a .zip"

_AS_KERAS = "Load it where it was made and save it with model.save('NAME.keras') of Keras 3."


class SourceFormat(StrEnum):
    """The kind of model, as ``servable.json`` names it."""

    KERAS = "keras"
    SAVED_MODEL = "saved_model"


class Packaging(StrEnum):
    """How the model's files come."""

    FILE = "file"
    DIRECTORY = "directory"
    ZIP = "zip"


@dataclass(frozen=True)
class Source:
    """A model of a known kind. ``root`` is the folder in the archive that holds it: '' or 'NAME/'."""

    path: Path
    format: SourceFormat
    packaging: Packaging
    root: str = ""


def recognise(path: Path, bounds: ScanBounds) -> Source:
    """Says what ``path`` is, reading no more than its beginning and its table of contents.

    Raises:
        NotAModel: nothing is there, it is empty, cut short, or nothing that is known.
        Unsupported: a model of a kind that is not converted; the hint says how to make one that is.
        ScanRefused: an archive that could harm the machine.
    """
    if path.is_symlink() or not path.exists():
        raise _not_a_model(path, "is not there", code="missing")
    return _recognise_directory(path) if path.is_dir() else _recognise_file(path, bounds)


def _recognise_directory(path: Path) -> Source:
    names = {entry.name for entry in path.iterdir()}
    if SAVED_MODEL in names:
        return Source(path, SourceFormat.SAVED_MODEL, Packaging.DIRECTORY)
    if "saved_model.pbtxt" in names:
        raise _unsupported(path, "is a SavedModel in text form", "Save it again; TensorFlow writes saved_model.pb.")
    if {KERAS_CONFIG, KERAS_WEIGHTS} <= names:
        raise _unsupported(path, "is an unpacked Keras model", "Upload the .keras file itself.")
    raise _not_a_model(path, "has no saved_model.pb" if names else "is empty", code="no_model_inside")


def _recognise_file(path: Path, bounds: ScanBounds) -> Source:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise _not_a_model(path, "is empty", code="empty", hint="Upload it again: nothing arrived.")
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _recognise_zip(path, bounds)
    raise _foreign(path, head)


def _recognise_zip(path: Path, bounds: ScanBounds) -> Source:
    names = [member.filename for member in list_members(path, bounds)]
    suffix = path.suffix.lower()
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        raise _unsupported(path, "is a PyTorch file", "Slipway serves Keras and TensorFlow models.")
    if KERAS_CONFIG in names and suffix == ".keras":
        return Source(path, SourceFormat.KERAS, Packaging.FILE)
    if suffix == ".keras":
        raise _not_a_model(path, f"is a zip without {KERAS_CONFIG}, so no Keras model", code="no_model_inside")
    if suffix != ".zip":
        raise _unknown_extension(path)
    if KERAS_CONFIG in names and KERAS_WEIGHTS in names:
        raise _unsupported(path, "is a Keras 3 file under another name", "Give it the extension .keras.")
    roots = [name.removesuffix(SAVED_MODEL) for name in names if name.split("/")[-1] == SAVED_MODEL]
    roots = [root for root in roots if root.count("/") <= 1]
    match roots:
        case [root]:
            return Source(path, SourceFormat.SAVED_MODEL, Packaging.ZIP, root)
        case [_, *_]:
            raise _unsupported(path, "holds more than one SavedModel", "Upload each as a model of its own.")
        case _ if any(name.lower().endswith((".keras", ".h5", ".hdf5")) for name in names):
            raise _unsupported(path, "is an archive around a Keras file", "Upload the .keras file itself.")
        case _:
            raise _not_a_model(path, f"has no {SAVED_MODEL} at its top or one folder down", code="no_model_inside")


def _foreign(path: Path, head: bytes) -> ExportError:
    """Names what a file is that is not converted."""
    suffix = path.suffix.lower()
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return _unsupported(path, "is a Keras file of the older HDF5 format", _AS_KERAS)
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return _unsupported(path, "is a tar archive", "Pack the SavedModel as a .zip.")
    if head[4:8] == b"TFL3":
        return _unsupported(path, "is a TensorFlow Lite file", "Upload the Keras model that it was made from.")
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return _unsupported(
            path, "is a pickle (PyTorch, scikit-learn …)", "Slipway serves Keras and TensorFlow models."
        )
    match suffix:
        case ".onnx":
            return _unsupported(path, "is an ONNX file", "Upload the Keras model that it was made from.")
        case ".safetensors":
            return _unsupported(path, "holds weights without a model", _AS_KERAS)
        case ".pt" | ".pth":
            return _unsupported(path, "is a PyTorch file", "Slipway serves Keras and TensorFlow models.")
        case ".pb":
            return _unsupported(path, "is one file of a SavedModel", "Upload its whole directory, or that as a .zip.")
        case ".keras" | ".zip" | ".h5" | ".hdf5" | ".gz" | ".tgz":
            return _not_a_model(path, f"is not what its extension {suffix} says: its first bytes are {head[:4]!r}")
        case _:
            return _unknown_extension(path)


def _not_a_model(path: Path, what: str, *, code: str = "not_a_model", hint: str = f"Upload {ACCEPTED}.") -> NotAModel:
    return NotAModel(f"'{path.name}' {what}.", hint=hint, stage=Stage.SCAN, code=code)


def _unknown_extension(path: Path) -> NotAModel:
    what = f"has the extension '{path.suffix}'" if path.suffix else "has no extension"
    return _not_a_model(path, f"{what}, which stands for no kind of model", code="unknown_extension")


def _unsupported(path: Path, what: str, hint: str) -> Unsupported:
    return Unsupported(f"'{path.name}' {what}, which is not converted.", hint=hint, stage=Stage.SCAN)
