"""A Keras model's inputs and outputs as a flat, named signature."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from exporter.errors import Stage, Unsupported
from exporter.manifest import TensorSpec

_NO_KEY = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True)
class Interface:
    """The named inputs in the order of the model's own, and a call by them that gives the named outputs."""

    inputs: dict[str, tf.TensorSpec]
    call: Callable[..., dict[str, Any]]

    def specs(self) -> dict[str, TensorSpec]:
        """The inputs as the manifest has them."""
        return {
            name: TensorSpec(dtype=spec.dtype.name, shape=spec.shape.as_list()) for name, spec in self.inputs.items()
        }


def interface(model: keras.Model) -> Interface:
    """The signature of a model: its dict keys where it has them, else the names of its input and output layers.

    Characters that a signature cannot have become underscores, and a name that comes twice gets a number.

    Raises:
        Unsupported: the model was never built, or takes sparse or ragged tensors.
    """
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise Unsupported(
            "The model was saved before it was built, so its inputs are unknown.",
            hint="Give it an Input layer, or call it once on data before model.save.",
            stage=Stage.TRACE,
            code="not_built",
        )
    for tensor in model.inputs:
        if tensor.sparse or tensor.ragged:
            raise Unsupported(
                f"The input '{tensor.name}' is sparse or ragged, which has no form in a REST request.",
                hint="Give the model a dense input, padded where lengths differ.",
                stage=Stage.TRACE,
                code="composite_tensor",
            )
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    names = names_of(structure, [tensor.name for tensor in model.inputs])
    output_names = [tensor._keras_history.operation.name for tensor in model.outputs]

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = model(keras.tree.pack_sequence_as(structure, list(tensors)), training=False)
        return dict(zip(names_of(outputs, output_names), keras.tree.flatten(outputs), strict=True))

    inputs = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
        for name, tensor in zip(names, model.inputs, strict=True)
    }
    return Interface(inputs, call)


def names_of(structure: Any, otherwise: Sequence[str]) -> list[str]:
    """A name for each leaf of ``structure``: the keys of a flat dict in the order that Keras flattens it, else those given."""
    if isinstance(structure, dict) and len(structure) == len(otherwise):
        return _unique([str(key) for key in sorted(structure)])
    return _unique(otherwise)


def _unique(names: Sequence[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        key = base = _NO_KEY.sub("_", name)
        number = 0
        while key in unique:
            number += 1
            key = f"{base}_{number}"
        unique.append(key)
    return unique
