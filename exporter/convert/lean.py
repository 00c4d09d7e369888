"""Writes signatures as a SavedModel that holds each weight once.

Keras's own export tracks the model's layers and, beside them, the list of all variables, and both are written. Here the
functions are saved under a module that knows the variables they capture and nothing else: no layers, no optimizer, no
training functions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from exporter.errors import Stage, Unsupported

SERVING_DEFAULT = "serving_default"
_WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
"""Custom gradients are for training on; to trace them takes as long as to trace the model."""
_save = tf.autograph.experimental.do_not_convert(tf.saved_model.save)
"""What is saved is traced already; the wrappers that saving adds have no Python control flow to convert."""


def write(model: Any, functions: Mapping[str, Any], tables: Sequence[Any], target: Path) -> None:
    """Writes concrete ``functions`` by signature name, with what they capture: the model's variables and lookup tables.

    ``tables`` are those that are not the model's.

    Raises:
        Unsupported: they capture something that no layer of the model keeps where it could be found.
    """
    captured = {id(resource) for resource in _captured_resources(list(functions.values()))}
    variables = _variables(model)
    known = variables | {id(table.resource_handle): table for table in tables}
    own_tables = _tables(model) if captured - known.keys() else {}
    if captured - known.keys() - own_tables.keys():
        raise Unsupported(
            "The model keeps state in a resource that none of its layers tracks, so it cannot be written.",
            hint="Keep variables and lookup tables as attributes of the layers that use them.",
            stage=Stage.WRITE,
            code="untracked_resource",
        )
    module = tf.Module()
    module.weights = [variable for handle, variable in variables.items() if handle in captured]
    module.tables = [*tables, *(table for handle, table in own_tables.items() if handle in captured)]
    _save(module, str(target), signatures=dict(functions), options=_WITHOUT_GRADIENTS)


def _variables(model: Any) -> dict[int, tf.Variable]:
    """The model's variables, seeds and other state included, by the identity of their resource."""
    # Those of Keras 3 hold TensorFlow's; those of Keras 2 are TensorFlow's.
    held = [each if isinstance(each, tf.Variable) else each.value for each in model.variables]
    return {id(variable.handle): variable for variable in held}


def _tables(model: Any) -> dict[int, Any]:
    """The lookup tables that the model's layers keep (StringLookup, TextVectorization …), by that of theirs."""
    kept = tf.train.TrackableView(model).descendants()
    tables = [each for each in kept if isinstance(each, tf.saved_model.experimental.TrackableResource)]
    return {id(table.resource_handle): table for table in tables}


def _captured_resources(functions: Sequence[Any]) -> list[Any]:
    return [
        external for function in functions for external, _ in function.graph.captures if external.dtype == tf.resource
    ]
