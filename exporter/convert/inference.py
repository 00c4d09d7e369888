"""What a model's own layers tell of the images that it wants and of what it answers."""

import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from exporter.options import Scaling

# What keras.applications.NAME.preprocess_input does, by the name that keras.applications gives the model.
_ARCHITECTURES: tuple[tuple[str, Scaling], ...] = (
    (r"resnet(50|101|152)v2", Scaling.TF),
    (r"resnet(50|101|152)|vgg(16|19)", Scaling.CAFFE),
    (r"inception|xception|mobilenet_|mobilenetv2|nasnet", Scaling.TF),
    (r"densenet", Scaling.TORCH),
    (r"efficientnet|mobilenetv3|convnext|regnet", Scaling.NONE),
)
# By name, as a model of Keras 2 has layers of tf_keras, which are of other classes under the same names.
_SCALING_LAYERS = frozenset({"Rescaling", "Normalization"})
_ARITHMETIC = frozenset({"Add", "Subtract", "Multiply", "Divide", "TrueDivide"})
_ARITHMETIC_OF_2 = frozenset(
    {"math.add", "math.subtract", "math.multiply", "math.divide", "math.truediv"}
    | {f"__operators__.{name}" for name in ("add", "sub", "mul", "truediv")}
)
_PROBABILITIES = frozenset({"softmax", "sigmoid"})


def scaling(model: keras.Model) -> Scaling:
    """The scaling that a model wants: none if it does it itself, else as its architecture's name says, else 0 to 1."""
    if scales_itself(model):
        return Scaling.NONE
    for name in _model_names(model):
        for pattern, found in _ARCHITECTURES:
            if re.match(pattern, name.lower()):
                return found
    return Scaling.UNIT


def scales_itself(model: keras.Model) -> bool:
    """Whether something scales the input before the first layer that has learned weights."""
    for operation in operations(model):
        kind = type(operation).__name__
        if kind in _SCALING_LAYERS or _is_arithmetic(operation, kind):
            return True
        if getattr(operation, "weights", ()):
            return False
    return False


def logits(model: keras.Model, output: np.ndarray[Any, Any]) -> bool:
    """Whether the output needs softmax (one unit: sigmoid): by the last activation, else by ``output`` [N, classes]."""
    operation = _last_operation(model)
    kind = type(operation).__name__
    if kind == "Softmax":
        return False
    if kind in ("Dense", "Activation"):
        activation = getattr(operation.activation, "__name__", "")
        if activation == "linear":
            return True
        if activation in _PROBABILITIES:
            return False
    return are_logits(output)


def are_logits(output: np.ndarray[Any, Any]) -> bool:
    """Whether scores [N, classes] are no probabilities."""
    values = output.astype(np.float64)
    within = bool(np.all((values >= 0.0) & (values <= 1.0)))
    return not within if values.shape[1] == 1 else not (within and np.allclose(values.sum(axis=1), 1.0, atol=1e-2))


def _is_arithmetic(operation: Any, kind: str) -> bool:
    """Whether this is a sum, product or the like with a number; a layer that joins two tensors comes after weights."""
    if isinstance(operation, keras.layers.Layer):
        return False
    return kind in _ARITHMETIC if kind != "TFOpLambda" else operation.get_config()["function"] in _ARITHMETIC_OF_2


def operations(model: Any) -> Iterator[Any]:
    """A model's layers and operations, those of the models in it included, in their order."""
    is_sequence = isinstance(model, keras.Sequential) or not isinstance(model, keras.Model)
    for operation in model.layers if is_sequence else model.operations:
        if _is_model(operation):
            yield from operations(operation)
        else:
            yield operation


def _model_names(model: Any) -> Iterator[str]:
    yield model.name
    for layer in model.layers:
        if _is_model(layer):
            yield from _model_names(layer)


def _last_operation(model: Any) -> Any:
    operation = model.outputs[0]._keras_history[0]
    return _last_operation(operation) if _is_model(operation) else operation


def _is_model(operation: Any) -> bool:
    return hasattr(operation, "layers") and hasattr(operation, "outputs")
