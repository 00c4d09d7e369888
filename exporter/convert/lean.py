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
    """Whether the functions use a resource that no variable or table of the model holds, and is none of ``own``."""
    known = {id(resource) for resource in own} | _variables(model).keys()
    unknown = {id(captured) for captured in _captured_resources(functions)} - known
    return bool(unknown) and not unknown <= _tables(model).keys()


def write(model: keras.Model, functions: Mapping[str, Any], tables: Sequence[Any], target: Path) -> None:
    """Writes concrete ``functions`` by signature name, with what they capture: the model's variables and lookup tables.

    ``tables`` are those that are not the model's.
    """
    captured = {id(resource) for resource in _captured_resources(list(functions.values()))}
    variables = _variables(model)
    own_tables = _tables(model) if captured - variables.keys() else {}
    module = tf.Module()
    module.weights = [variable for handle, variable in variables.items() if handle in captured]
    module.tables = [*tables, *(table for handle, table in own_tables.items() if handle in captured)]
    _save(module, str(target), signatures=dict(functions), options=_WITHOUT_GRADIENTS)


def write_with_tables(model: keras.Model, face: Interface, target: Path) -> None:
    """Writes a model that keeps resources where only Keras's own archive finds them.

    Larger than ``write``: Keras stores each weight twice (keras-team/keras issue 23553).
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(SERVING_DEFAULT, face.call, input_signature=list(face.inputs.values()))
    archive.write_out(str(target), verbose=False)


def _variables(model: keras.Model) -> dict[int, tf.Variable]:
    """The model's variables, seeds and other state included, by the identity of their resource."""
    # Those of Keras 3 hold TensorFlow's; those of Keras 2 are TensorFlow's.
    held = [each if isinstance(each, tf.Variable) else each.value for each in model.variables]
    return {id(variable.handle): variable for variable in held}


def _tables(model: keras.Model) -> dict[int, Any]:
    """The lookup tables that the model's layers keep (StringLookup, TextVectorization …), by that of theirs."""
    kept = tf.train.TrackableView(model).descendants()
    tables = [each for each in kept if isinstance(each, tf.saved_model.experimental.TrackableResource)]
    return {id(table.resource_handle): table for table in tables}


def _captured_resources(functions: Sequence[Any]) -> list[Any]:
    return [
        external for function in functions for external, _ in function.graph.captures if external.dtype == tf.resource
    ]
