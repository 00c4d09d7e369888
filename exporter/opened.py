"""A model's files, at hand for a scan: a Keras file taken out of its archive, and small files by their names.

A tar can only be read from its beginning, and a gzipped one has to be unpacked to be read: what is wanted of it is kept
in one reading, in a temporary directory.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from exporter import archive, formats
from exporter.errors import NotAModel, Stage
from exporter.formats import Source, SourceFormat
from exporter.limits import ScanBounds
from exporter.workspace import temporary


@dataclass(frozen=True)
class Opened:
    """A model of a known kind. ``model`` is the Keras file itself; of a SavedModel it is what was uploaded."""

    source: Source
    model: Path
    bounds: ScanBounds
    kept: dict[str, Path]

    def graph(self) -> bytes:
        """The ``saved_model.pb`` of a SavedModel."""
        content = self._of_saved_model(formats.SAVED_MODEL, self.bounds.graph_bytes)
        if content is None:
            raise vanished(self.source, self.source.root + formats.SAVED_MODEL)
        return content

    def beside(self, name: str) -> bytes | None:
        """A small file that came with the model: in a SavedModel's folder, or beside a Keras file in its archive."""
        if self.source.format is SourceFormat.SAVED_MODEL:
            return self._of_saved_model(name, self.bounds.labels_bytes)
        folder, slash, _ = self.source.root.rpartition("/")
        return self._member(folder + slash + name, self.bounds.labels_bytes) if self.source.packed else None

    def within(self, name: str) -> bytes | None:
        """A small file in a ``.keras`` file, which is a zip."""
        if self.source.format is SourceFormat.SAVED_MODEL or not zipfile.is_zipfile(self.model):
            return None
        return archive.read_member(self.model, name, at_most=self.bounds.labels_bytes, bounds=self.bounds)

    def _of_saved_model(self, name: str, at_most: int) -> bytes | None:
        if self.source.packed:
            return self._member(self.source.root + name, at_most)
        return _read(self.source.path / name, at_most)

    def _member(self, name: str, at_most: int) -> bytes | None:
        if name not in self.source.members:
            return None
        if name in self.kept:
            return _read(self.kept[name], at_most, f"{self.source.path.name}!{name}")
        return archive.read_member(self.source.path, name, at_most=at_most, bounds=self.bounds)


@contextmanager
def opened(path: Path, bounds: ScanBounds, *small: str, whole: bool = True) -> Iterator[Opened]:
    """Recognises a model and opens it; ``small`` are names of files that will be asked for; not ``whole``: these only.

    Raises:
        NotAModel, Unsupported, ScanRefused: as ``formats.recognise`` does.
    """

    def wanted(member: archive.Member) -> bool:
        is_small = member.size <= bounds.labels_bytes and PurePosixPath(member.name).name in names
        return is_small or (whole and formats.may_be_model(member.name))

    names = {PurePosixPath(name).name for name in small}
    with temporary() as directory:
        keep = archive.Keep(directory, wanted)
        source = formats.recognise(path, bounds, keep)
        model = path
        if whole and source.packed and source.format is not SourceFormat.SAVED_MODEL:
            model = directory / PurePosixPath(source.root).name
            if source.root in keep.files:
                keep.files[source.root].rename(model)
            elif not archive.extract_member(path, source.root, model, bounds):
                raise vanished(source, source.root)
        yield Opened(source, model, bounds, keep.files)


def vanished(source: Source, name: str) -> NotAModel:
    """It was recognised by this very file, so it went away since."""
    return NotAModel(f"'{source.path.name}' has no {name}.", hint="Upload it again.", stage=Stage.SCAN)


def _read(file: Path, at_most: int, name: str = "") -> bytes | None:
    """A file, which is read through no link."""
    if file.is_symlink() or not file.is_file():
        return None
    with file.open("rb") as content:
        found = content.read(at_most + 1)
    if len(found) > at_most:
        raise archive.too_large(name or f"{file.parent.name}/{file.name}", at_most)
    return found
