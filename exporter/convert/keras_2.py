"""Models that Keras 2 wrote, loaded by its continuation, tf_keras.

Keras 3 loads some of them, fails on others, and for a few computes something else; tf_keras is what they were written
by. It executes what a file carries, whatever its ``safe_mode``: only a file that the scan let pass may come here, and never
a SavedModel directory.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

from exporter.convert.interface import Interface, Slot, names_of, no_dense_form, of_slots
from exporter.errors import Stage, Unsupported


def version() -> str:
    """tf_keras and its version, for messages."""
    return f"tf_keras {_tf_keras().__version__}"


def load(path: Path, trusted: dict[str, Any]) -> Any:
    """The model in a ``.h5`` or ``.keras`` file.

    Raises:
        ValueError, TypeError, OSError …: as tf_keras says of what it cannot rebuild.
    """
    if not path.is_file():
        raise ValueError("only files are loaded by tf_keras")
    return _tf_keras().models.load_model(str(path), compile=False, safe_mode=True, custom_objects=trusted)


def is_model(model: Any) -> bool:
    """Whether this is a model of tf_keras."""
    return isinstance(model, _tf_keras().Model)


def interface(model: Any) -> Interface:
    """The signature of a model: its dict keys where it has them, else the names of its input and output layers.

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
    structure = model.input if isinstance(model.input, dict | list | tuple) else model.inputs[0]
    names = names_of(structure, model.input_names)

    def call(inputs: list[Any]) -> list[tuple[str, Any]]:
        outputs = model(tf.nest.pack_sequence_as(structure, inputs), training=False)
        return list(zip(names_of(outputs, model.output_names), tf.nest.flatten(outputs), strict=True))

    return of_slots([_slot(name, tensor.type_spec) for name, tensor in zip(names, model.inputs, strict=True)], call)


def _slot(name: str, spec: Any) -> Slot:
    match spec:
        case tf.RaggedTensorSpec(ragged_rank=1):
            return Slot(name, spec.shape, spec.dtype, ragged=True, sparse=False)
        case tf.TensorSpec() | tf.SparseTensorSpec():
            return Slot(name, spec.shape, spec.dtype, ragged=False, sparse=isinstance(spec, tf.SparseTensorSpec))
        case _:
            raise no_dense_form(name)


def _tf_keras() -> Any:
    """Imported for the first model of Keras 2; most are of Keras 3."""
    import tf_keras  # noqa: PLC0415  (it comes without types)

    return tf_keras
