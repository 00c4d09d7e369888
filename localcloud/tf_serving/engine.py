"""The model engine: a SavedModel in a v1 ``Session``, fed and fetched by tensor name, as TensorFlow Serving runs it.

The only module here that imports TensorFlow, which takes a moment: the server does it in a thread, after it listens.
``import tensorflow`` would run the whole public API, Keras with it, of which nothing is needed to run a graph: three
times the start-up time and 130 MB more. So the package is entered without running its ``__init__``, and only the
session, the loader and their protobuf messages are imported. TensorFlow's version is pinned, and a contract test runs
this with hash tables and image decoding.
"""

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from localcloud.tf_serving import inference, warmup
from localcloud.tf_serving.errors import Code, ServingError, invalid
from localcloud.tf_serving.tensors import Array, Signature, TensorSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its notes on CPU features help nobody here


def _enter_tensorflow_package() -> None:
    spec = importlib.util.find_spec("tensorflow")
    if spec is None:
        raise ModuleNotFoundError("tensorflow is not installed; it is needed to serve models", name="tensorflow")
    sys.modules["tensorflow"] = importlib.util.module_from_spec(spec)


if "tensorflow" not in sys.modules:
    _enter_tensorflow_package()

from tensorflow.core.framework import tensor_pb2, types_pb2  # noqa: E402
from tensorflow.core.protobuf import config_pb2  # noqa: E402
from tensorflow.python.client import session as tf_session  # noqa: E402
from tensorflow.python.framework import errors_impl, ops, tensor_util  # noqa: E402
from tensorflow.python.platform import tf_logging  # noqa: E402
from tensorflow.python.saved_model import loader_impl  # noqa: E402

tf_logging.set_verbosity(tf_logging.ERROR)  # the loader is called deprecated at every load


@dataclass(frozen=True)
class EngineOptions:
    """How sessions are made; 0 leaves the choice to TensorFlow."""

    tags: tuple[str, ...] = ("serve",)
    timeout_ms: int = 0
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    gpu_memory_fraction: float = 0.0
    warmup_iterations: int = 1  # 0: no warm-up


class SessionServable:
    """A SavedModel loaded into a session of its own; implements ``inference.Servable``. Safe for many threads."""

    def __init__(self, folder: Path, options: EngineOptions) -> None:
        """Loads it.

        Raises:
            ServingError: with the code and message that TensorFlow Serving shows in the version's status.
        """
        self._options = options
        self._callables: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[..., list[Any]]] = {}
        self._lock = threading.Lock()
        graph = ops.Graph()
        config = config_pb2.ConfigProto(
            allow_soft_placement=True,
            intra_op_parallelism_threads=options.intra_op_threads,
            inter_op_parallelism_threads=options.inter_op_threads,
            gpu_options=config_pb2.GPUOptions(per_process_gpu_memory_fraction=options.gpu_memory_fraction),
        )
        self._session = tf_session.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                meta_graph = _load(self._session, folder, options.tags)
            self.signatures: Mapping[str, Signature] = {
                name: _signature(definition) for name, definition in sorted(meta_graph.signature_def.items())
            }
            self.signature_def: Mapping[str, object] = {
                name: json_format.MessageToDict(
                    definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
                )
                for name, definition in sorted(meta_graph.signature_def.items())
            }
            self._warm_up(folder)
        except BaseException:
            self.close()
            raise

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> list[Array]:
        """Runs the graph.

        Raises:
            ServingError: TensorFlow's own code and message.
        """
        try:
            runner = self._callable(tuple(sorted(feeds)), tuple(fetches))
            outputs = runner(*(feeds[name] for name in sorted(feeds)))
        except errors_impl.OpError as error:
            raise ServingError(Code.of_number(error.error_code), error.message) from error
        except (TypeError, ValueError) as error:
            raise invalid(str(error)) from error
        return [np.asarray(output, dtype=object if isinstance(output, bytes) else None) for output in outputs]

    def close(self) -> None:
        """Frees the session; a callable must not run any more."""
        self._callables.clear()
        self._session.close()

    def _callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Callable[..., list[Any]]:
        """Made once for each signature: quicker than ``Session.run``, and without its check of static shapes."""
        with self._lock:
            if (feeds, fetches) not in self._callables:
                options = config_pb2.CallableOptions(
                    feed=feeds,
                    fetch=fetches,
                    run_options=config_pb2.RunOptions(timeout_in_ms=self._options.timeout_ms),
                )
                self._callables[feeds, fetches] = self._session._make_callable_from_options(options)
            return self._callables[feeds, fetches]

    def _warm_up(self, folder: Path) -> None:
        if not self._options.warmup_iterations or not (folder / warmup.FILE).is_file():
            return
        for request in warmup.read(folder / warmup.FILE):
            if request.signature not in self.signatures:
                raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{request.signature}" not found.')
            inputs = {
                alias: tensor_util.MakeNdarray(tensor_pb2.TensorProto.FromString(tensor))
                for alias, tensor in request.inputs.items()
            }
            for _ in range(self._options.warmup_iterations):
                inference.run(self, self.signatures[request.signature], inputs)


def _load(session: Any, folder: Path, tags: Sequence[str]) -> Any:
    if not any((folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")):
        raise ServingError(
            Code.NOT_FOUND,
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}. "
            "Check that the directory exists and that you have the right permissions for accessing it.",
        )
    try:
        return loader_impl.load(session, list(tags), str(folder))
    except errors_impl.OpError as error:
        raise ServingError(Code.of_number(error.error_code), error.message) from error
    except RuntimeError as error:
        if "could not be found in SavedModel" not in str(error):
            raise ServingError(Code.INTERNAL, str(error)) from error
        raise ServingError(
            Code.NOT_FOUND,
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
        ) from error
    except (OSError, DecodeError) as error:  # the loader's words for a file that is no protobuf message
        raise ServingError(Code.DATA_LOSS, f"Can't parse {folder / 'saved_model.pb'} as binary proto") from error
    except (ValueError, TypeError, KeyError, AssertionError) as error:  # a graph that this TensorFlow cannot import
        raise ServingError(Code.INVALID_ARGUMENT, f"Could not import the graph: {error}") from error


def _signature(definition: Any) -> Signature:
    return Signature(
        method=definition.method_name,
        inputs={alias: _spec(info) for alias, info in sorted(definition.inputs.items())},
        outputs={alias: _spec(info) for alias, info in sorted(definition.outputs.items())},
    )


def _spec(info: Any) -> TensorSpec:
    return TensorSpec(tensor=info.name, dtype=types_pb2.DataType.Name(info.dtype))
