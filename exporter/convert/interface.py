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

    slots = [
        Slot(name, tf.TensorShape(tensor.shape), tf.as_dtype(tensor.dtype), ragged=tensor.ragged, sparse=tensor.sparse)
        for name, tensor in zip(names, model.inputs, strict=True)
    ]

    def call(inputs: list[Any]) -> list[tuple[str, Any]]:
        outputs = model(keras.tree.pack_sequence_as(structure, inputs), training=False)
        return list(zip(names_of(outputs, output_names), keras.tree.flatten(outputs), strict=True))

    return of_slots(slots, call)


def of_slots(slots: Sequence["Slot"], call: Callable[[list[Any]], list[tuple[str, Any]]]) -> Interface:
    """The signature of a ``call`` that takes a model's own inputs, one for each slot, and gives its outputs and their names."""

    def call_with_dense(*tensors: Any) -> dict[str, Any]:
        given = iter(tensors)
        outputs = call([slot.taken(given) for slot in slots])
        return {key: dense for name, output in outputs for key, dense in _dense(name, output).items()}

    return Interface({name: spec for slot in slots for name, spec in slot.specs().items()}, call_with_dense)


class Slot:
    """One input of the model, which one or two dense tensors stand for."""

    def __init__(self, name: str, shape: tf.TensorShape, dtype: tf.DType, *, ragged: bool, sparse: bool) -> None:
        self._name, self._shape, self._dtype, self._ragged, self._sparse = name, shape, dtype, ragged, sparse
        if ragged and len(shape) < 2:
            raise no_dense_form(name)

    def specs(self) -> dict[str, tf.TensorSpec]:
        """The dense tensors, in the order in which ``taken`` takes them."""
        values = {self._name: tf.TensorSpec(self._shape, self._dtype, name=self._name)}
        if not self._ragged:
            return values
        lengths = self._name + ROW_LENGTHS
        return values | {lengths: tf.TensorSpec(self._shape[:1], tf.int64, name=lengths)}

    def taken(self, given: Iterator[Any]) -> Any:
        """What the model takes, from as many of the given tensors as there are specs."""
        values = next(given)
        if self._ragged:
            return tf.RaggedTensor.from_tensor(values, lengths=next(given))
        return tf.sparse.from_dense(values) if self._sparse else values


def _dense(name: str, output: Any) -> dict[str, Any]:
    match output:
        case tf.RaggedTensor(ragged_rank=1):
            return {name: output.to_tensor(), name + ROW_LENGTHS: output.row_lengths()}
        case tf.RaggedTensor():
            raise no_dense_form(name)
        case tf.SparseTensor():
            return {name: tf.sparse.to_dense(output)}
        case _:
            return {name: output}


def no_dense_form(name: str) -> Unsupported:
    """The refusal of a tensor that no dense ones can stand for."""
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
