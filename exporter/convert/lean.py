"""Writes signatures as a SavedModel that holds each weight once.

Keras's own export tracks the model's layers and, beside them, the list of all variables, and both are written. Here the
functions are written with the variables that they capture and nothing else: no layers, no optimizer, no training
functions. A model with lookup tables of its own is left to TensorFlow to write, which knows what is in them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from exporter.convert import serving_graph
from exporter.convert.serving_graph import LabelTable
from exporter.errors import Stage, Unsupported

SERVING_DEFAULT = "serving_default"
_WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
"""Custom gradients are for training on; to trace them takes as long as to trace the model."""
_save = tf.autograph.experimental.do_not_convert(tf.saved_model.save)
"""What is saved is traced already; the wrappers that saving adds have no Python control flow to convert."""


def write(model: Any, functions: Mapping[str, Any], labels: Sequence[LabelTable], target: Path) -> None:
    """Writes concrete ``functions`` by signature name, with what they capture: the model's variables and lookup tables.

    Raises:
        Unsupported: they capture something that no layer of the model keeps where it could be found.
    """
    captured = {id(resource) for resource in _captured_resources(list(functions.values()))}
    variables = {name: variable for name, variable in _variables(model).items() if id(variable.handle) in captured}
    known = {id(each.handle) for each in variables.values()} | {id(each.table.resource_handle) for each in labels}
    if variables and captured <= known:
        serving_graph.write(functions, variables, labels, target)
        return
    tables = {handle: table for handle, table in _tables(model).items() if handle in captured}
    if captured - known - tables.keys():
        raise Unsupported(
            "The model keeps state in a resource that none of its layers tracks, so it cannot be written.",
            hint="Keep variables and lookup tables as attributes of the layers that use them.",
            stage=Stage.WRITE,
            code="untracked_resource",
        )
    module = tf.Module()
    module.weights = list(variables.values())
    module.tables = [*tables.values(), *(each.table for each in labels)]
    _save(module, str(target), signatures=dict(functions), options=_WITHOUT_GRADIENTS)


def _variables(model: Any) -> dict[str, tf.Variable]:
    """The model's variables, seeds and other state included, by unique names."""
    found: dict[str, tf.Variable] = {}
    for each in model.variables:
        # Those of Keras 3 hold TensorFlow's; those of Keras 2 are TensorFlow's.
        name, variable = (each.name, each) if isinstance(each, tf.Variable) else (each.path, each.value)
        found[name if name not in found else f"{name}_{len(found)}"] = variable
    return found


def _tables(model: Any) -> dict[int, Any]:
    """The lookup tables that the model's layers keep (StringLookup, TextVectorization …), by that of theirs."""
    kept = tf.train.TrackableView(model).descendants()
    tables = [each for each in kept if isinstance(each, tf.saved_model.experimental.TrackableResource)]
    return {id(table.resource_handle): table for table in tables}


def _captured_resources(functions: Sequence[Any]) -> list[Any]:
    return [
        external for function in functions for external, _ in function.graph.captures if external.dtype == tf.resource
    ]
