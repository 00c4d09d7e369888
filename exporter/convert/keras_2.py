"""Models that Keras 2 wrote, loaded by its continuation, tf_keras.

Keras 3 loads some of them, fails on others, and for a few computes something else; tf_keras is what they were written
by. It executes what a file carries, whatever its ``safe_mode``: only a file that the scan let pass may come here, and never
a SavedModel directory.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

from exporter.convert.interface import Interface, names_of
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
        if not isinstance(tensor.type_spec, tf.TensorSpec):
            raise Unsupported(
                f"The input '{tensor.name}' is sparse or ragged, which has no form in a REST request.",
                hint="Give the model a dense input, padded where lengths differ.",
                stage=Stage.TRACE,
                code="composite_tensor",
            )
    structure = model.input if isinstance(model.input, dict | list | tuple) else model.inputs[0]
    names = names_of(structure, model.input_names)

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = model(tf.nest.pack_sequence_as(structure, list(tensors)), training=False)
        return dict(zip(names_of(outputs, model.output_names), tf.nest.flatten(outputs), strict=True))

    inputs = {
        name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
        for name, tensor in zip(names, model.inputs, strict=True)
    }
    return Interface(inputs, call)


def _tf_keras() -> Any:
    """Imported for the first model of Keras 2; most are of Keras 3."""
    import tf_keras  # noqa: PLC0415  (it comes without types)

    return tf_keras
