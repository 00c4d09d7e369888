"""What the names of blobs in the drop container mean, and the names made from them. Pure.

A model's NAME is a DNS label of at most 40 characters: it becomes part of Kubernetes object names.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from deployer.errors import UploadRefused

MODEL_SUFFIXES = (".keras", ".h5", ".hdf5", ".zip", ".tar.gz", ".tgz")
SIDECAR_SUFFIXES = (".yaml", ".labels.txt")
MAX_NAME = 40

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SEPARATORS = re.compile(r"[-_. ]+")


@dataclass(frozen=True)
class ModelFile:
    """A model in one blob, ``STEM.keras`` and the like."""

    model: str
    stem: str
    blob: str


@dataclass(frozen=True)
class DirectoryPart:
    """One blob of a SavedModel directory: ``STEM/PATH``."""

    model: str
    stem: str
    path: str


@dataclass(frozen=True)
class Sidecar:
    """Options or labels beside a model: ``STEM.yaml``, ``STEM.labels.txt``."""

    model: str
    stem: str
    blob: str


OPTIONS_ANNOTATION = "slipway/serve-options"  # on a Deployment: the options that it was rendered for

Part = ModelFile | DirectoryPart | Sidecar


def model_name(stem: str) -> str:
    """The model's NAME from the name it was dropped under: ``Cats_v2`` becomes ``cats-v2``.

    Raises:
        UploadRefused: ``bad_name``, when no DNS label of at most 40 characters can be made of it.
    """
    name = _SEPARATORS.sub("-", stem.lower()).strip("-")
    if not _LABEL.fullmatch(name):
        raise _bad_name(stem, "may hold only letters a-z, digits, and '-', '_', '.' or spaces between them")
    if len(name) > MAX_NAME:
        raise _bad_name(stem, f"has {len(name)} characters, and at most {MAX_NAME} fit")
    return name


def is_model_name(name: str) -> bool:
    """Whether this can be a model's NAME."""
    return len(name) <= MAX_NAME and _LABEL.fullmatch(name) is not None


def part_of(blob: str) -> Part:
    """What a blob of the drop container is, by its name alone.

    Raises:
        UploadRefused: ``bad_name``, ``unknown_extension`` or ``nested_file``.
    """
    stem, slash, path = blob.partition("/")
    if slash:
        if "/" not in path and _split(path, MODEL_SUFFIXES):
            raise UploadRefused(
                "nested_file", f"'{blob}' lies in a folder.",
                f"Put the file at the top of the container, as '{path}'. Folders are for SavedModel directories.",
                stage="name",
            )  # fmt: skip
        return DirectoryPart(model_name(stem), stem, path)
    if found := _split(blob, MODEL_SUFFIXES):
        return ModelFile(model_name(found), found, blob)
    if found := _split(blob, SIDECAR_SUFFIXES):
        return Sidecar(model_name(found), found, blob)
    suffix = PurePosixPath(blob).suffix or "no extension"
    raise UploadRefused(
        "unknown_extension", f"'{blob}' ({suffix}) is no kind of model file that Slipway knows.",
        f"Save it as one of {', '.join(MODEL_SUFFIXES)}, or upload a SavedModel directory as NAME/saved_model.pb ….",
        stage="name",
    )  # fmt: skip


def sidecar_blobs(stem: str) -> tuple[str, ...]:
    """The blobs that may lie beside a model dropped as ``stem``."""
    return tuple(stem + suffix for suffix in SIDECAR_SUFFIXES)


def version_object(model: str, version: int) -> str:
    """The name of a version's Deployment, Service and the rest."""
    return f"tfs-{model}-v{version}"


def bridge_name(model: str) -> str:
    """What stands for the model in the names and labels of its bridge's objects. No model's NAME has two dashes in a row."""
    return f"{model}--bridge"


def export_job(model: str, *attempt: object) -> str:
    """The name of the Job that makes this attempt at an upload: the same for the same, another for any other."""
    return f"export-{model}-{hashlib.sha256(repr(attempt).encode()).hexdigest()[:10]}"


def stable_service(model: str) -> str:
    """The name of the Service that always selects the version that serves."""
    return f"tfs-{model}"


def _split(blob: str, suffixes: tuple[str, ...]) -> str | None:
    lowered = blob.lower()
    return next((blob[: -len(suffix)] for suffix in suffixes if lowered.endswith(suffix)), None)


def _bad_name(stem: str, why: str) -> UploadRefused:
    return UploadRefused(
        "bad_name", f"'{stem}' cannot become a model name: it {why}.",
        "Rename the file, for example to 'cats-v2'. The name becomes part of Kubernetes object names.", stage="name",
    )  # fmt: skip
