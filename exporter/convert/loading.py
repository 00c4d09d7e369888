"""From a scanned file to a model in memory, by the Keras that wrote it, and the signature under which it is called."""

import importlib
from pathlib import Path
from typing import Any

import keras

from exporter import archive
from exporter.convert import keras_2
from exporter.convert.interface import Interface, interface
from exporter.convert.reasons import reason
from exporter.convert.unfilled import unfilled_variables
from exporter.errors import ConversionFailed, Stage, Unsupported
from exporter.formats import Packaging, SourceFormat
from exporter.job import Job
from exporter.keras_scan import Loader

_FAILURES = (TypeError, ValueError, KeyError, IndexError, AttributeError, ImportError, OSError, RuntimeError)


def load(job: Job) -> tuple[Any, Interface]:
    """The model of a Keras file, of Keras 3 or 2, without its training state, and its signature.

    Only what a scan let pass may come here: to load a file of Keras 2 is to run what is in it.

    Raises:
        ConversionFailed: it does not load.
        Unsupported: it is no model that can be called by named tensors.
    """
    path = unpacked(job)
    keras_3 = job.loader is Loader.KERAS_3
    try:
        trusted = _trusted(job.allowed_layers)
        model = _load_3(path, trusted) if keras_3 else keras_2.load(path, trusted)
    except _FAILURES as error:
        version = f"Keras {keras.__version__}" if keras_3 else keras_2.version()
        raise ConversionFailed(
            f"{version} cannot load the model: {reason(error).replace(str(path), 'the file')}",
            hint="Check that it loads where it was made, and save it again with the newest Keras 3.",
            stage=Stage.LOAD,
            code="does_not_load",
        ) from error
    if not (isinstance(model, keras.Model) if keras_3 else keras_2.is_model(model)):
        raise Unsupported(
            f"The file holds a {type(model).__name__}, not a model.",
            hint="Save the whole model with model.save('NAME.keras').",
            stage=Stage.LOAD,
        )
    return model, interface(model) if keras_3 else keras_2.interface(model)


def unpacked(job: Job) -> Path:
    """The model as a file or directory that can be read: the source itself, or what is taken out of its archive."""
    source = Path(job.source)
    if job.packaging not in (Packaging.ZIP, Packaging.TAR):
        return source
    if job.format is SourceFormat.SAVED_MODEL:
        directory = Path(job.directory) / "unpacked"
        archive.extract(source, root=job.root, into=directory, bounds=job.bounds)
        return directory
    model = Path(job.directory) / f"model{Path(job.root).suffix.lower()}"
    if not archive.extract_member(source, job.root, model, job.bounds):
        raise ConversionFailed(
            f"'{source.name}' has no '{job.root}' any more.",
            hint="Upload it again.",
            stage=Stage.LOAD,
            code="source_changed",
            permanent=False,
        )
    return model


def _load_3(path: Path, trusted: dict[str, Any]) -> Any:
    with unfilled_variables():
        return keras.saving.load_model(str(path), compile=False, safe_mode=True, custom_objects=trusted)


def _trusted(allowed: frozenset[str]) -> dict[str, Any]:
    """The classes that the settings trust, by the names that a file may give them. Importing them registers others."""
    found = {}
    for name in sorted(allowed):
        module, _, class_name = name.rpartition(".")
        found[class_name] = vars(importlib.import_module(module))[class_name]
    return found
