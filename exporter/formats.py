"""What a file is, by its content first and its name second."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from exporter import archive, foreign
from exporter.errors import ExportError, NotAModel, Stage, Unsupported
from exporter.limits import ScanBounds

SAVED_MODEL = "saved_model.pb"
KERAS_CONFIG = "config.json"
KERAS_METADATA = "metadata.json"
KERAS_WEIGHTS = "model.weights.h5"
ACCEPTED = (
    "a Keras model (.keras, .h5, .hdf5), a SavedModel as a directory, or an archive (.zip, .tar.gz, .tgz) of either"
)

_HEAD = 512
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF5_SUFFIXES = (".h5", ".hdf5")
_TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar")
_MODEL_FILES = (".keras", *_HDF5_SUFFIXES)


class SourceFormat(StrEnum):
    """The kind of model. ``servable.json`` calls both kinds of Keras file "keras"."""

    KERAS = "keras"
    HDF5 = "hdf5"
    SAVED_MODEL = "saved_model"

    @property
    def family(self) -> Literal["keras", "saved_model"]:
        """As ``servable.json`` names it."""
        return "saved_model" if self is SourceFormat.SAVED_MODEL else "keras"


class Packaging(StrEnum):
    """How the model's files come."""

    FILE = "file"
    DIRECTORY = "directory"
    ZIP = "zip"
    TAR = "tar"


@dataclass(frozen=True)
class Source:
    """A model of a known kind.

    ``root`` is where it is in an archive: the folder of a SavedModel ('' or 'NAME/'), or the name of a Keras file.
    """

    path: Path
    format: SourceFormat
    packaging: Packaging
    root: str = ""
    members: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """What else is in the archive: to look into a gzipped tar again is to read it through."""

    @property
    def packed(self) -> bool:
        """Whether the model is to be taken out of an archive before it can be read."""
        return self.packaging in (Packaging.ZIP, Packaging.TAR)


def recognise(path: Path, bounds: ScanBounds, keep: archive.Keep | None = None) -> Source:
    """Says what ``path`` is, reading no more than its beginning and its table of contents.

    A tar has no table of contents: it is read through, and what ``keep`` wants of it is kept.

    Raises:
        NotAModel: nothing is there, it is empty, cut short, or nothing that is known.
        Unsupported: a model of a kind that is not converted; the hint says how to make one that is.
        ScanRefused: an archive that could harm the machine.
    """
    if path.is_symlink() or not path.exists():
        raise _not_a_model(path, "is not there", code="missing")
    return _recognise_directory(path) if path.is_dir() else _recognise_file(path, bounds, keep)


def may_be_model(name: str) -> bool:
    """Whether this member of an archive may be what makes it a model: at its top or one folder down."""
    return name.count("/") <= 1 and (name.rsplit("/", 1)[-1] == SAVED_MODEL or name.lower().endswith(_MODEL_FILES))


def recognise_inside(path: Path, bounds: ScanBounds) -> SourceFormat:
    """What a Keras file is that came out of an archive.

    Raises:
        ExportError: as ``recognise`` does; an archive in an archive is refused.
    """
    found = recognise(path, bounds)
    if found.packaging is not Packaging.FILE:
        raise _unsupported(path, "is an archive in an archive", "Upload the inner archive itself.")
    return found.format


def _recognise_directory(path: Path) -> Source:
    names = {entry.name for entry in path.iterdir()}
    if SAVED_MODEL in names:
        return Source(path, SourceFormat.SAVED_MODEL, Packaging.DIRECTORY)
    if "saved_model.pbtxt" in names:
        raise _unsupported(path, "is a SavedModel in text form", "Save it again; TensorFlow writes saved_model.pb.")
    if {KERAS_CONFIG, KERAS_WEIGHTS} <= names:
        raise _unsupported(path, "is an unpacked Keras model", "Upload the .keras file itself.")
    files = (entry.relative_to(path).as_posix() for entry in path.glob("*/*"))
    if kind := foreign.by_members([*names, *files]):
        raise _unsupported(path, kind.what, kind.hint)
    raise _not_a_model(path, "has no saved_model.pb" if names else "is empty", code="no_model_inside")


def _recognise_file(path: Path, bounds: ScanBounds, keep: archive.Keep | None) -> Source:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise _not_a_model(path, "is empty", code="empty", hint="Upload it again: nothing arrived.")
    if archive.is_zip(head):
        return _recognise_zip(path, bounds)
    if archive.is_tar(head) and (_suffix(path) in _TAR_SUFFIXES or not head.startswith(b"\x1f\x8b")):
        return _recognise_archive(path, Packaging.TAR, _names(path, bounds, keep))
    if head.startswith(_HDF5_MAGIC):
        return _recognise_hdf5(path)
    raise _foreign(path, head)


def _recognise_hdf5(path: Path) -> Source:
    if path.suffix.lower() in (*_HDF5_SUFFIXES, ".keras"):  # Keras 2 wrote HDF5 whatever the extension, .keras too
        return Source(path, SourceFormat.HDF5, Packaging.FILE)
    raise _unsupported(path, "is an HDF5 file under another name", "Give it the extension .h5 if it is a Keras model.")


def _recognise_zip(path: Path, bounds: ScanBounds) -> Source:
    names = _names(path, bounds)
    suffix = _suffix(path)
    if KERAS_CONFIG in names and suffix == ".keras":
        return Source(path, SourceFormat.KERAS, Packaging.FILE)
    if suffix in (".zip", *_TAR_SUFFIXES):
        return _recognise_archive(path, Packaging.ZIP, names)
    if kind := foreign.by_members(names) or foreign.by_suffix(suffix):
        raise _unsupported(path, kind.what, kind.hint)
    if KERAS_CONFIG in names and KERAS_WEIGHTS in names:
        raise _unsupported(path, "is a Keras 3 file under another name", "Give it the extension .keras.")
    if suffix in _MODEL_FILES:
        raise _not_a_model(path, f"is a zip without {KERAS_CONFIG}, so no Keras model", code="no_model_inside")
    raise _unknown_extension(path)


def _recognise_archive(path: Path, packaging: Packaging, names: list[str]) -> Source:
    """A SavedModel's folder or a Keras file, at the top or one folder down."""
    if KERAS_CONFIG in names and KERAS_WEIGHTS in names:
        raise _unsupported(path, "is a Keras 3 file under another name", "Give it the extension .keras.")
    near = [name for name in names if name.count("/") <= 1 and not name.startswith("__MACOSX/")]
    near = [name for name in near if not name.rsplit("/", 1)[-1].startswith("._")]
    roots = [name.removesuffix(SAVED_MODEL) for name in near if name.rsplit("/", 1)[-1] == SAVED_MODEL]
    files = [name for name in near if name.lower().endswith(_MODEL_FILES)]
    match roots, [name for name in files if not any(name.startswith(root) for root in roots)]:
        case [root], []:
            return Source(path, SourceFormat.SAVED_MODEL, packaging, root, frozenset(names))
        case [], [file]:
            kind = SourceFormat.KERAS if file.lower().endswith(".keras") else SourceFormat.HDF5
            return Source(path, kind, packaging, file, frozenset(names))
        case [], []:
            if kind_of := foreign.by_members(names):
                raise _unsupported(path, kind_of.what, kind_of.hint)
            what = f"has neither a {SAVED_MODEL} nor a .keras or .h5 file at its top or one folder down"
            raise _not_a_model(path, what, code="no_model_inside")
        case _:
            found = ", ".join(sorted([*roots, *files])[:5]).strip(", ")
            raise _unsupported(path, f"holds more than one model ({found})", "Upload each as a model of its own.")


def _names(path: Path, bounds: ScanBounds, keep: archive.Keep | None = None) -> list[str]:
    return [member.name for member in archive.list_members(path, bounds, keep)]


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in _TAR_SUFFIXES if name.endswith(suffix)), path.suffix.lower())


def _foreign(path: Path, head: bytes) -> ExportError:
    """Names what a file is that is not converted."""
    suffix = _suffix(path)
    if kind := foreign.by_head(head) or foreign.by_suffix(suffix):
        return _unsupported(path, kind.what, kind.hint)
    if suffix in (*_MODEL_FILES, *_TAR_SUFFIXES, ".zip"):
        return _not_a_model(path, f"is not what its extension {suffix} says: its first bytes are {head[:4]!r}")
    return _unknown_extension(path)


def _not_a_model(path: Path, what: str, *, code: str = "not_a_model", hint: str = f"Upload {ACCEPTED}.") -> NotAModel:
    return NotAModel(f"'{path.name}' {what}.", hint=hint, stage=Stage.SCAN, code=code)


def _unknown_extension(path: Path) -> NotAModel:
    what = f"has the extension '{path.suffix}'" if path.suffix else "has no extension"
    return _not_a_model(path, f"{what}, which stands for no kind of model", code="unknown_extension")


def _unsupported(path: Path, what: str, hint: str) -> Unsupported:
    return Unsupported(f"'{path.name}' {what}, which is not converted.", hint=hint, stage=Stage.SCAN)
