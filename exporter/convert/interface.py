"""A Keras model's inputs and outputs as a flat, named signature of dense tensors, the only ones TensorFlow Serving takes.

A ragged tensor is a dense one, padded, and beside it ``NAME_row_lengths``: how much of each row is meant. So both have
the batch in front, as requests in rows and the server's batching want it. A sparse tensor is its dense equal.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from exporter.errors import Stage, Unsupported
from exporter.manifest import TensorSpec

ROW_LENGTHS = "_row_lengths"
"""Ends the name of the tensor that says how much of each row of another is meant."""
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
        Unsupported: the model was never built, or its ragged tensors have no dense form.
    """
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise Unsupported(
            "The model was saved before it was built, so its inputs are unknown.",
            hint="Give it an Input layer, or call it once on data before model.save.",
            stage=Stage.TRACE,
            code="not_built",
        )
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    names = names_of(structure, [tensor.name for tensor in model.inputs])
    output_names = [tensor._keras_history.operation.name for tensor in model.outputs]

    slots = [_Slot(name, tensor) for name, tensor in zip(names, model.inputs, strict=True)]

    def call(*tensors: Any) -> dict[str, Any]:
        given = iter(tensors)
        outputs = model(keras.tree.pack_sequence_as(structure, [slot.taken(given) for slot in slots]), training=False)
        flat = zip(names_of(outputs, output_names), keras.tree.flatten(outputs), strict=True)
        return {key: dense for name, output in flat for key, dense in _dense(name, output).items()}

    return Interface({name: spec for slot in slots for name, spec in slot.specs().items()}, call)


class _Slot:
    """One input of the model, which one or two dense tensors stand for."""

    def __init__(self, name: str, tensor: keras.KerasTensor) -> None:
        self._name, self._tensor = name, tensor
        if tensor.ragged and len(tensor.shape) < 2:
            raise _no_dense_form(name)

    def specs(self) -> dict[str, tf.TensorSpec]:
        """The dense tensors, in the order in which ``taken`` takes them."""
        values = {self._name: tf.TensorSpec(self._tensor.shape, self._tensor.dtype, name=self._name)}
        if not self._tensor.ragged:
            return values
        lengths = self._name + ROW_LENGTHS
        return values | {lengths: tf.TensorSpec(self._tensor.shape[:1], tf.int64, name=lengths)}

    def taken(self, given: Iterator[Any]) -> Any:
        """What the model takes, from as many of the given tensors as there are specs."""
        values = next(given)
        if self._tensor.ragged:
            return tf.RaggedTensor.from_tensor(values, lengths=next(given))
        return tf.sparse.from_dense(values) if self._tensor.sparse else values


def _dense(name: str, output: Any) -> dict[str, Any]:
    match output:
        case tf.RaggedTensor(ragged_rank=1):
            return {name: output.to_tensor(), name + ROW_LENGTHS: output.row_lengths()}
        case tf.RaggedTensor():
            raise _no_dense_form(name)
        case tf.SparseTensor():
            return {name: tf.sparse.to_dense(output)}
        case _:
            return {name: output}


def _no_dense_form(name: str) -> Unsupported:
    return Unsupported(
        f"'{name}' is ragged in more than its second dimension, which has no form in a request.",
        hint="Give the model dense tensors, padded where lengths differ.",
        stage=Stage.TRACE,
        code="composite_tensor",
    )


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
