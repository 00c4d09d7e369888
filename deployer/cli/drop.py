"""Which files ``slipway push`` sends, under which blob names, and in what order. Reads folders, sends nothing.

Options and labels go before the model, so that the model is never taken without them; of a SavedModel directory
``saved_model.pb`` goes last, so that it is complete when it arrives.
"""

from dataclasses import dataclass
from pathlib import Path

from deployer.cli.errors import Usage
from deployer.errors import UploadRefused
from deployer.names import MODEL_SUFFIXES, model_name, part_of, sidecar_blobs


@dataclass(frozen=True)
class DropFile:
    """One file and the name of the blob that it becomes."""

    path: Path
    blob: str


@dataclass(frozen=True)
class Drop:
    """What one push sends, in this order: sidecars, then files; the last file completes the model."""

    model: str
    sidecars: tuple[DropFile, ...]
    files: tuple[DropFile, ...]
    directory: bool

    @property
    def last(self) -> DropFile:
        """The file whose arrival completes the model; its ETag is the upload's."""
        return self.files[-1]


def drop_of(path: Path, name: str | None) -> Drop:
    """What pushing ``path`` sends; ``name`` stands for the name of the file.

    Raises:
        Usage: there is nothing at ``path``, it is no model, or no model name can be made of its name.
    """
    try:
        if path.is_dir():
            return _directory(path.resolve(), name)
        if path.is_file():
            return _file(path, name)
    except UploadRefused as refused:
        raise Usage(refused.code, refused.message, refused.hint) from refused
    raise Usage(
        "no_such_file", f"There is no file or folder '{path}'.", "Give the path of a model file or a SavedModel folder."
    )


def _file(path: Path, name: str | None) -> Drop:
    suffix = next((suffix for suffix in MODEL_SUFFIXES if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        part_of(path.name)  # says what is wrong with its name, unless it is options or labels
        raise Usage(
            "not_a_model", f"'{path}' goes with a model, and is none itself.",
            f"Push the model itself ({', '.join(MODEL_SUFFIXES)}); what lies beside it goes with it.",
        )  # fmt: skip
    stem = path.name[: -len(suffix)]
    model = model_name(name or stem)
    return Drop(model, _sidecars(path.parent, stem, model), (DropFile(path, model + suffix),), directory=False)


def _directory(path: Path, name: str | None) -> Drop:
    model = model_name(name or path.name)
    root = path / "saved_model.pb"
    if not root.is_file():
        raise Usage(
            "not_a_model", f"'{path}' holds no saved_model.pb.",
            "Give the folder of one SavedModel, or one of the files that Slipway knows.",
        )  # fmt: skip
    others = sorted(
        file for file in path.rglob("*")
        if file.is_file() and file != root and not file.name.startswith(".")
    )  # fmt: skip
    files = tuple(DropFile(file, f"{model}/{file.relative_to(path).as_posix()}") for file in (*others, root))
    return Drop(model, _sidecars(path.parent, path.name, model), files, directory=True)


def _sidecars(folder: Path, stem: str, model: str) -> tuple[DropFile, ...]:
    pairs = zip(sidecar_blobs(stem), sidecar_blobs(model), strict=True)
    return tuple(DropFile(folder / beside, blob) for beside, blob in pairs if (folder / beside).is_file())
