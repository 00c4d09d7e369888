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
_ARITHMETIC = frozenset({"Add", "Subtract", "Multiply", "Divide", "TrueDivide"})


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
    for operation in _operations(model):
        if isinstance(operation, keras.layers.Rescaling | keras.layers.Normalization):
            return True
        if not isinstance(operation, keras.layers.Layer):
            if type(operation).__name__ in _ARITHMETIC:
                return True
        elif operation.weights:
            return False
    return False


def logits(model: keras.Model, output: np.ndarray[Any, Any]) -> bool:
    """Whether the output needs softmax (one unit: sigmoid): by the last activation, else by ``output`` [N, classes]."""
    match _last_operation(model):
        case keras.layers.Softmax():
            return False
        case keras.layers.Dense(activation=activation) | keras.layers.Activation(activation=activation):
            if activation is keras.activations.linear:
                return True
            if activation in (keras.activations.softmax, keras.activations.sigmoid):
                return False
    values = output.astype(np.float64)
    within = bool(np.all((values >= 0.0) & (values <= 1.0)))
    return not within if values.shape[1] == 1 else not (within and np.allclose(values.sum(axis=1), 1.0, atol=1e-2))


def _operations(model: keras.Model) -> Iterator[Any]:
    for operation in model.layers if isinstance(model, keras.Sequential) else model.operations:
        if isinstance(operation, keras.Model):
            yield from _operations(operation)
        else:
            yield operation


def _model_names(model: keras.Model) -> Iterator[str]:
    yield model.name
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _model_names(layer)


def _last_operation(model: keras.Model) -> Any:
    operation = model.outputs[0]._keras_history.operation
    return _last_operation(operation) if isinstance(operation, keras.Model) else operation
