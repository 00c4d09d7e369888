"""A servable as TensorFlow Serving sees it: the v1 loader, a Session, and tensors by signature name.

``tf.saved_model.load`` forgives what this does not, such as a variable that no object tracks, so only this proves that
TensorFlow Serving can load what was written.
"""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

from exporter.convert.reasons import reason
from exporter.errors import ConversionFailed, Stage, Unsupported
from exporter.manifest import Signature, TensorSpec

Arrays = dict[str, np.ndarray[Any, Any]]

_TAGS = ["serve"]
_INTERNAL = "__saved_model_"


class Served:
    """A servable, loaded in a graph and session of its own; use it as a context."""

    def __init__(self, directory: Path, *, optimized: bool = False) -> None:
        self._graph = tf.Graph()
        configuration = tf.compat.v1.ConfigProto(allow_soft_placement=True)
        # Loading and placing go as in TensorFlow Serving, and, if ``optimized``, so does Grappler, which rewrites a graph
        # into an equal, faster one. That takes longer than the few answers asked for here. What it does to functions, to
        # put them in place of their calls, is done without it: else each call would be prepared by a Grappler of its own.
        if not optimized:
            configuration.graph_options.rewrite_options.disable_meta_optimizer = True
            configuration.graph_options.optimizer_options.do_function_inlining = True
        self._session = tf.compat.v1.Session(graph=self._graph, config=configuration)
        try:
            with self._graph.as_default():
                loaded = tf.compat.v1.saved_model.loader.load(self._session, _TAGS, str(directory))
        except (tf.errors.OpError, OSError, ValueError, RuntimeError, KeyError) as error:
            self._session.close()
            raise ConversionFailed(
                f"TensorFlow Serving could not load this model: {reason(error)}",
                hint="Check that all of its files were uploaded, and that it loads with tf.saved_model.load.",
                stage=Stage.VERIFY,
                code="does_not_load",
            ) from error
        self._definitions = {
            name: definition for name, definition in loaded.signature_def.items() if not name.startswith(_INTERNAL)
        }
        self.signatures = {
            name: _signature(self._graph, name, definition) for name, definition in self._definitions.items()
        }

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def run(self, signature: str, inputs: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """The outputs of a signature, by name.

        Raises:
            tf.errors.OpError, ValueError: as TensorFlow says of inputs that the graph does not take.
        """
        definition = self._definitions[signature]
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetch = {name: info.name for name, info in definition.outputs.items()}
        return {name: np.asarray(value) for name, value in self._session.run(fetch, feed).items()}


def _signature(graph: tf.Graph, name: str, definition: Any) -> Signature:
    return Signature(
        method=definition.method_name,
        inputs={key: _spec(graph, name, key, info) for key, info in sorted(definition.inputs.items())},
        outputs={key: _spec(graph, name, key, info) for key, info in sorted(definition.outputs.items())},
    )


def _spec(graph: tf.Graph, signature: str, key: str, info: Any) -> TensorSpec:
    if info.WhichOneof("encoding") != "name":
        raise Unsupported(
            f"'{key}' of the signature '{signature}' is a sparse or composite tensor, which REST has no form for.",
            hint="Export a signature of dense tensors.",
            stage=Stage.VERIFY,
            code="composite_tensor",
        )
    # Old exporters left the shape out, and the message's default would read as a scalar.
    shape = (
        tf.TensorShape(info.tensor_shape)
        if info.HasField("tensor_shape")
        else graph.get_tensor_by_name(info.name).shape
    )
    return TensorSpec(dtype=tf.as_dtype(info.dtype).name, shape=None if shape.rank is None else shape.as_list())
