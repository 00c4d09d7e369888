"""A SavedModel composed of traced functions: what TensorFlow Serving reads, and nothing that is for Python.

``tf.saved_model.save`` traces every signature anew, builds a graph for each variable to save and to restore it, and
describes Python's objects, so that ``tf.saved_model.load`` can make them again. TensorFlow Serving, the v1 loader and
``tf.saved_model.load(…).signatures`` ask for none of it. Here the MetaGraph is put together from the functions as they
are:

- the functions in the graph's library, and one call of each for its signature
- a handle for each variable, and one operation that restores them all
- tables of labels, filled from assets

It can be read and run, but not be saved again or trained on.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework.meta_graph import strip_graph_default_valued_attrs, stripped_op_list_for_graph
from tensorflow.python.saved_model.fingerprinting_utils import write_fingerprint

_PREDICT = "tensorflow/serving/predict"
_SCHEMA_VERSION = 1
_CHECKPOINT, _RESTORE, _INIT = "checkpoint", "restore", "init"
_INIT_SIGNATURE = "__saved_model_init_op"
_VARIABLES = Path("variables") / "variables"
_ASSETS = Path("assets")


@dataclass(frozen=True)
class LabelTable:
    """A table from the number of a line to the line, of a file that becomes an asset."""

    table: tf.lookup.StaticHashTable
    file: Path


def write(
    functions: Mapping[str, Any], variables: Mapping[str, tf.Variable], tables: Sequence[LabelTable], target: Path
) -> None:
    """Writes concrete ``functions`` by signature name, and what they capture: ``variables`` by unique name, ``tables``."""
    graph = _Graph()
    for name, variable in variables.items():
        graph.add_variable(name, variable)
    for table in tables:
        graph.add_table(table)
    for signature, function in functions.items():
        graph.add_signature(signature, function)
    (target / _VARIABLES).parent.mkdir(parents=True)
    tf.raw_ops.SaveV2(
        prefix=str(target / _VARIABLES),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=[variable.read_value() for variable in variables.values()],
    )
    for table in tables:
        (target / _ASSETS).mkdir(exist_ok=True)
        shutil.copyfile(table.file, target / _ASSETS / table.file.name)
    (target / "saved_model.pb").write_bytes(graph.finished().SerializeToString(deterministic=True))
    write_fingerprint(str(target))


class _Graph:
    """A MetaGraph in the making. Nodes are described here, and made only by whoever loads them."""

    def __init__(self) -> None:
        self._meta = tf.compat.v1.MetaGraphDef()
        self._resources: dict[int, str] = {}
        self._variables: list[tuple[str, str, tf.DType]] = []
        self._initializers: list[str] = []

    def add_variable(self, name: str, variable: tf.Variable) -> None:
        node = self._node(f"variable_{len(self._variables)}", "VarHandleOp", dtype=variable.dtype)
        node.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
        node.attr["shared_name"].s = name.encode()
        self._resources[id(variable.handle)] = node.name
        self._variables.append((name, node.name, variable.dtype))

    def add_table(self, labels: LabelTable) -> None:
        name = f"table_{len(self._initializers)}"
        table = self._node(name, "HashTableV2", key_dtype=tf.int64, value_dtype=tf.string)
        table.attr["shared_name"].s = name.encode()
        self._resources[id(labels.table.resource_handle)] = name
        file = self._constant(f"{name}/file", labels.file.name)
        self._meta.asset_file_def.add(filename=labels.file.name).tensor_info.name = f"{file}:0"
        filled = self._node(f"{name}/filled", "InitializeTableFromTextFileV2", name, file)
        filled.attr["key_index"].i = tf.lookup.TextFileIndex.LINE_NUMBER
        filled.attr["value_index"].i = tf.lookup.TextFileIndex.WHOLE_LINE
        self._initializers.append(filled.name)

    def add_signature(self, name: str, function: Any) -> None:
        self._add_functions(function)
        signature = self._meta.signature_def[name]
        signature.method_name = _PREDICT
        inputs = []
        for spec in tf.nest.flatten(function.structured_input_signature):
            placeholder = self._node(f"{name}_{spec.name}", "Placeholder", dtype=spec.dtype)
            placeholder.attr["shape"].shape.CopyFrom(spec.shape.as_proto())
            _describe(signature.inputs[spec.name], placeholder.name, spec)
            inputs.append(placeholder.name)
        inputs += [self._captured(name, index, each) for index, each in enumerate(function.captured_inputs)]
        call = self._node(name, "StatefulPartitionedCall", *inputs)
        definition = function.function_def.signature
        call.attr["f"].func.name = definition.name
        call.attr["Tin"].list.type.extend(argument.type for argument in definition.input_arg)
        call.attr["Tout"].list.type.extend(result.type for result in definition.output_arg)
        for index, (key, output) in enumerate(sorted(function.structured_outputs.items())):
            _describe(signature.outputs[key], f"{name}:{index}", output)

    def finished(self) -> SavedModel:
        meta = self._meta
        self._add_restoring()
        self._node(_INIT, "NoOp", *(f"^{name}" for name in self._initializers))
        initialisation = meta.signature_def[_INIT_SIGNATURE].outputs[_INIT_SIGNATURE]
        initialisation.name = _INIT
        initialisation.tensor_shape.unknown_rank = True
        meta.meta_info_def.tags.append("serve")
        meta.meta_info_def.tensorflow_version = tf.version.VERSION
        meta.meta_info_def.tensorflow_git_version = tf.version.GIT_VERSION
        meta.graph_def.versions.producer = tf.version.GRAPH_DEF_VERSION
        strip_graph_default_valued_attrs(meta)
        meta.meta_info_def.stripped_op_list.MergeFrom(stripped_op_list_for_graph(meta.graph_def))
        saved = SavedModel(saved_model_schema_version=_SCHEMA_VERSION)
        saved.meta_graphs.append(meta)
        return saved

    def _add_functions(self, function: Any) -> None:
        library = self._meta.graph_def.library
        known = {each.signature.name for each in library.function}
        for each in [function.function_def, *function.graph.as_graph_def().library.function]:
            if each.signature.name not in known:
                known.add(each.signature.name)
                added = library.function.add()
                added.CopyFrom(each)
                for node in added.node_def:
                    node.attr.pop("_gradient_op_type", None)  # names a gradient that only this process knows

    def _add_restoring(self) -> None:
        file = self._node(_CHECKPOINT, "Placeholder", dtype=tf.string)
        file.attr["shape"].shape.SetInParent()
        names = self._constant(f"{_RESTORE}/names", [name for name, _, _ in self._variables])
        slices = self._constant(f"{_RESTORE}/slices", [""] * len(self._variables))
        read = self._node(f"{_RESTORE}/read", "RestoreV2", _CHECKPOINT, names, slices)
        read.attr["dtypes"].list.type.extend(dtype.as_datatype_enum for _, _, dtype in self._variables)
        for index, (_, handle, dtype) in enumerate(self._variables):
            self._node(f"{_RESTORE}/{handle}", "AssignVariableOp", handle, f"{read.name}:{index}", dtype=dtype)
        self._node(_RESTORE, "NoOp", *(f"^{_RESTORE}/{handle}" for _, handle, _ in self._variables))
        saver = self._meta.saver_def
        saver.filename_tensor_name = saver.save_tensor_name = f"{_CHECKPOINT}:0"  # loaders insist on a name to save by
        saver.restore_op_name = _RESTORE
        saver.version = saver.V2

    def _captured(self, signature: str, index: int, tensor: Any) -> str:
        if tensor.dtype == tf.resource:
            return self._resources[id(tensor)]
        return self._constant(f"{signature}/constant_{index}", tensor.numpy())

    def _constant(self, name: str, value: Any) -> str:
        content = tf.make_tensor_proto(value)
        node = self._node(name, "Const", dtype=tf.as_dtype(content.dtype))
        node.attr["value"].tensor.CopyFrom(content)
        return name

    def _node(self, name: str, operation: str, *inputs: str, **dtypes: tf.DType) -> Any:
        node = self._meta.graph_def.node.add(name=name, op=operation, input=inputs)
        for attribute, dtype in dtypes.items():
            node.attr[attribute].type = dtype.as_datatype_enum
        return node


def _describe(info: Any, node: str, tensor: Any) -> None:
    info.name = node if ":" in node else f"{node}:0"
    info.dtype = tensor.dtype.as_datatype_enum
    info.tensor_shape.CopyFrom(tensor.shape.as_proto())
