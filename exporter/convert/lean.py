"""Writes signatures as a SavedModel that holds each weight once.

Keras's own export tracks the model's layers and, beside them, the list of all variables, and both are written. Here the
functions are saved under a module that knows the variables they capture and nothing else: no layers, no optimizer, no
training functions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from exporter.convert.interface import Interface

SERVING_DEFAULT = "serving_default"
_WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
"""Custom gradients are for training on; to trace them takes as long as to trace the model."""
_save = tf.autograph.experimental.do_not_convert(tf.saved_model.save)
"""What is saved is traced already; the wrappers that saving adds have no Python control flow to convert."""


def captures_foreign_resources(model: keras.Model, functions: Sequence[Any], own: Sequence[Any]) -> bool:
    """Whether the functions use a resource (a lookup table) that is no variable of the model and none of ``own``."""
    known = {id(variable.value.handle) for variable in model.variables} | {id(resource) for resource in own}
    return any(id(captured) not in known for captured in _captured_resources(functions))


def write(model: keras.Model, functions: Mapping[str, Any], tables: Sequence[Any], target: Path) -> None:
    """Writes concrete ``functions`` by signature name, with the variables that they capture and the tables they use."""
    captured = {id(resource) for resource in _captured_resources(list(functions.values()))}
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables if id(variable.value.handle) in captured]
    module.tables = list(tables)
    _save(module, str(target), signatures=dict(functions), options=_WITHOUT_GRADIENTS)


def write_with_tables(model: keras.Model, face: Interface, target: Path) -> None:
    """Writes a model that owns lookup tables by Keras's own archive, which knows where its layers keep them.

    Larger than ``write``: Keras stores each weight twice (keras-team/keras issue 23553).
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(SERVING_DEFAULT, face.call, input_signature=list(face.inputs.values()))
    archive.write_out(str(target), verbose=False)


def _captured_resources(functions: Sequence[Any]) -> list[Any]:
    return [
        external for function in functions for external, _ in function.graph.captures if external.dtype == tf.resource
    ]
