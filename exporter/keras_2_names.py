"""Which of Keras 2's names are known to do nothing but compute, by the module that a configuration gives them.

Keras 2 kept its classes in other modules from release to release, and HDF5 files name most of them without one. What
TensorFlow operations a functional model used, it wrote down as layers that look the operation up by name.
"""

import json
import re
from typing import Any

from exporter import graph_ops
from exporter.keras_names import CONSTRAINTS, INITIALIZERS, LAYERS, MODELS, REGULARIZERS, Dialect, words

_LAYERS_OF_2 = (
    LAYERS | {"LocallyConnected1D", "LocallyConnected2D", "RandomHeight", "RandomWidth", "ThresholdedReLU"}
) | {
    "BatchNormalizationV1",
    "BatchNormalizationV2",
    "SyncBatchNormalization",
}
_INITIALIZERS_OF_2 = INITIALIZERS | {"RandomNormalV2", "RandomUniformV2", "ZerosV2", "OnesV2", "GlorotUniformV2"}
_POLICIES_OF_2 = frozenset({"Policy", "PolicyV1"})
_FUNCTIONAL = frozenset({"Functional", "Model"})
_SEQUENTIAL = frozenset({"Sequential"})

OPERATION_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"})

# What Keras 2 wrote for values that JSON has no form for.
_VALUES = frozenset({"__tuple__", "TensorShape", "__ellipsis__"})

_NAMESPACES = re.compile(r"(compat\.v1\.)?(math|linalg|nn|signal|bitwise|image|strings|__operators__)\.[a-z0-9_]+")
_OPERATIONS = words(
    """
    abs acos acosh add add_n argmax argmin argsort asin asinh atan atan2 atanh batch_to_space boolean_mask
    broadcast_to cast ceil clip_by_norm clip_by_value complex concat convert_to_tensor cos cosh cumsum divide einsum
    ensure_shape equal exp expand_dims eye fill floor gather gather_nd greater greater_equal identity less
    less_equal linspace logical_and logical_not logical_or matmul maximum meshgrid minimum multiply negative norm
    not_equal one_hot ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max
    reduce_mean reduce_min reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll round saturate_cast
    scalar_mul scatter_nd searchsorted sequence_mask shape shape_n sigmoid sign sin sinh size slice sort
    space_to_batch space_to_batch_nd split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh
    tensordot tensor_scatter_nd_add tensor_scatter_nd_update tile transpose truediv truncatediv truncatemod unique
    unstack where zeros zeros_like
    """
)

_BY_PART: dict[str, frozenset[str]] = {
    "layers.core.tf_op_layer": OPERATION_LAYERS,
    "engine.functional": _FUNCTIONAL,
    "engine.sequential": _SEQUENTIAL,
    "engine.training": _FUNCTIONAL,
}

KERAS_2 = Dialect(
    by_module={
        "keras": MODELS,
        "keras.models": MODELS,
        "keras.layers": _LAYERS_OF_2,
        "keras.initializers": _INITIALIZERS_OF_2,
        "keras.regularizers": REGULARIZERS,
        "keras.constraints": CONSTRAINTS,
        "keras.mixed_precision": _POLICIES_OF_2,
        "builtins": frozenset({"function"}),
    }
    | {
        f"{package}.{part}": names
        for package in ("keras", "keras.src", "tf_keras.src", "tensorflow.python.keras")
        for part, names in _BY_PART.items()
    },
    without_module=_LAYERS_OF_2
    | _INITIALIZERS_OF_2
    | REGULARIZERS
    | CONSTRAINTS
    | MODELS
    | _POLICIES_OF_2
    | OPERATION_LAYERS
    | _VALUES,
)


def operation_problem(class_name: str, config: dict[str, Any]) -> str | None:
    """Why an operation that a layer looks up by name may not be called, or None."""
    if class_name == "TensorFlowOpLayer":
        op = _op_of(config.get("node_def"))
        return None if op in graph_ops.PURE else f"the TensorFlowOpLayer runs the operation {op!r}"
    function = config.get("function")
    if class_name == "SlicingOpLambda":
        return None if function == "__operators__.getitem" else f"the SlicingOpLambda layer calls {function!r}"
    if isinstance(function, str) and (
        function.removeprefix("compat.v1.") in _OPERATIONS or _NAMESPACES.fullmatch(function)
    ):
        return None
    return f"the TFOpLambda layer calls tf.{function}, which is none of the operations known to be harmless"


def _op_of(node: object) -> str | None:
    if isinstance(node, str):
        try:
            node = json.loads(node)
        except (ValueError, RecursionError):
            return None
    op = node.get("op") if isinstance(node, dict) else None
    return op if isinstance(op, str) else None
