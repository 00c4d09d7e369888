"""``classify_image`` around a SavedModel's own graph, in which nothing else changes: no variable is written again.

The nodes that ``serving_default`` runs are there a second time, between the decoded images and the ranked labels. They
read the same variables, constants and tables and call the same functions, so a model of TensorFlow 2 is one more call,
and one of TensorFlow 1 some nodes more. (A placeholder that has the decoded images as its default would need no second
set, but is not replaced for good when it is fed: Grappler gives it outgoing control edges, which stay.)
The labels are one more asset, in one more table.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from exporter.convert import image, parity
from exporter.convert.image import Classifier
from exporter.convert.lean import SERVING_DEFAULT
from exporter.convert.pixels import Pixels
from exporter.convert.reasons import reason
from exporter.convert.served import Arrays, Served
from exporter.errors import BadOptions, ParityFailed, Stage
from exporter.options import ExportOptions

_FILE = "saved_model.pb"
_FINGERPRINT = "fingerprint.pb"
_TAGS = {"serve"}
_INITIALIZE = "__saved_model_init_op"
_INITIALIZE_OF_1 = ("saved_model_main_op", "legacy_init_op")
"""In the order in which TensorFlow Serving looks for them."""
_ASSETS_OF_1 = "saved_model_assets"
_WHOLE_LINE, _LINE_NUMBER = -2, -1


def classifier(served: Served, labels: tuple[str, ...], options: ExportOptions) -> Classifier:
    """How a SavedModel classifies images.

    Raises:
        BadOptions: it does not, or labels or options do not fit it.
    """
    if image.SIGNATURE in served.signatures:
        raise _impossible(f"it has a signature '{image.SIGNATURE}' of its own", code="option_without_effect")
    signature = served.signatures.get(SERVING_DEFAULT)
    if signature is None:
        raise _impossible(f"it has no signature '{SERVING_DEFAULT}', only {', '.join(sorted(served.signatures))}")

    def answer(pixels: Pixels) -> Arrays:
        try:
            return _outputs(served, pixels.numbers(pixels.samples(1)))
        except (tf.errors.OpError, ValueError) as error:
            why = f"it does not answer for images of {pixels.height} by {pixels.width} pixels"
            raise _impossible(f"{why} ({reason(error)})") from error

    return image.classifier_of_signature(signature.inputs, labels, options, answer)


def answers(served: Served, how: Classifier) -> dict[int, tuple[Arrays, Arrays]]:
    """Requests of several batch sizes, and what ``classify_image`` is to answer: as the original does about their pixels.

    Labels are left out where the order of classes is so close that other hardware may rightly give another.
    """
    found = {}
    for size in parity.BATCH_SIZES:
        files = how.pixels.samples(size)
        (output,) = _outputs(served, how.pixels.numbers(files)).values()
        expected, clear = image.expected(how, output)
        found[size] = {image.IMAGE_BYTES: files}, expected if clear else {image.SCORES: expected[image.SCORES]}
    return found


def _outputs(served: Served, numbers: np.ndarray[Any, Any]) -> Arrays:
    (name,) = served.signatures[SERVING_DEFAULT].inputs
    return served.run(SERVING_DEFAULT, {name: numbers})


def ask(served: Served, images: Arrays, expected: Arrays) -> tuple[Arrays, Arrays]:
    """The images, and of what the written servable answers about them the outputs that are expected.

    Raises:
        ParityFailed: it does not answer.
    """
    try:
        outputs = served.run(image.SIGNATURE, images)
    except (tf.errors.OpError, ValueError) as error:
        raise ParityFailed(
            f"The servable does not answer '{image.SIGNATURE}': {reason(error)}",
            hint="Leave labels and image options out, and it is served with its own signatures; and report this.",
            stage=Stage.VERIFY,
        ) from error
    return images, {name: outputs[name] for name in expected}


def write(servable: Path, how: Classifier) -> None:
    """Gives the SavedModel in ``servable`` the signature ``classify_image``, and its labels as an asset."""
    saved = _read(servable)
    graph = _serving(saved)
    scope = _unused(image.SIGNATURE, {node.name.split("/", 1)[0] for node in graph.graph_def.node})
    assets = servable / "assets"
    assets.mkdir(exist_ok=True)
    asset = _unused(image.LABEL_FILE, {file.name for file in assets.iterdir()})
    image.write_labels(how.labels, assets / asset)
    (output,) = graph.signature_def[SERVING_DEFAULT].outputs.values()
    _attach(graph, _added(how, tf.as_dtype(output.dtype), scope, asset), scope)
    _announce(graph, how, scope, asset)
    (servable / _FILE).write_bytes(saved.SerializeToString(deterministic=True))
    (servable / _FINGERPRINT).unlink(missing_ok=True)  # of the graph as it was; TensorFlow Serving does without


def _read(directory: Path) -> Any:
    return saved_model_pb2.SavedModel.FromString((directory / _FILE).read_bytes())


def _serving(saved: Any) -> Any:
    """The graph that is served: the one with this tag and no other, which is how it was just loaded."""
    return next(graph for graph in saved.meta_graphs if set(graph.meta_info_def.tags) == _TAGS)


def _added(how: Classifier, dtype: tf.DType, scope: str, asset: str) -> Any:
    """The graph of what comes before the model and after it, with a placeholder for the model's output between."""
    graph = tf.Graph()
    with graph.as_default(), tf.name_scope(scope):
        files = tf.compat.v1.placeholder(tf.string, [None], name=image.IMAGE_BYTES)
        tf.identity(how.pixels.decoded(files), name="pixels")
        output = tf.compat.v1.placeholder(dtype, [None, how.classes], name="output")
        table = tf.raw_ops.HashTableV2(key_dtype=tf.int64, value_dtype=tf.string, shared_name=f"{scope}/table")
        label_of: Callable[[Any], Any] = lambda indices: tf.raw_ops.LookupTableFindV2(  # noqa: E731
            table_handle=table, keys=indices, default_value=tf.constant(b"")
        )
        for name, tensor in image.ranked(how, output, label_of).items():
            tf.identity(tensor, name=name)
        tf.raw_ops.InitializeTableFromTextFileV2(
            table_handle=table,
            filename=tf.constant(asset, name="label_file"),
            key_index=_LINE_NUMBER,
            value_index=_WHOLE_LINE,
            name="fill_table",
        )
        return tf.compat.v1.train.export_meta_graph(graph=graph, strip_default_attrs=True)


def _attach(graph: Any, added: Any, scope: str) -> None:
    """Puts the nodes and functions of ``added`` into ``graph``, and the model once more between them."""
    definition, more = graph.graph_def, added.graph_def
    known = {function.signature.name for function in definition.library.function}
    names = {
        function.signature.name: _unused(f"{scope}_function_{index}", known)
        for index, function in enumerate(more.library.function)
    }
    for function in more.library.function:
        function.signature.name = names[function.signature.name]
        _rename_calls(function.node_def, names)
        definition.library.function.add().CopyFrom(function)
    _rename_calls(more.node, names)
    scores = _repeat(graph, f"{scope}/pixels", f"{scope}/model")
    for node in more.node:
        if node.name != f"{scope}/output":
            inputs = [scores if _node(name) == f"{scope}/output" else name for name in node.input]
            _add(definition, node, node.name, inputs)
    listed = graph.meta_info_def.stripped_op_list
    known_ops = {op.name for op in listed.op}
    listed.op.extend(op for op in added.meta_info_def.stripped_op_list.op if op.name not in known_ops)


def _repeat(graph: Any, pixels: str, scope: str) -> str:
    """Repeats what ``serving_default`` runs from its input to its output, from ``pixels`` on; says where this output is.

    Nodes without any input are not repeated: variables, tables, constants. All others are, so that a loop of TensorFlow 1
    is repeated as a whole, under a name of its own.
    """
    signature = graph.signature_def[SERVING_DEFAULT]
    (taken,), (given,) = signature.inputs.values(), signature.outputs.values()
    nodes = {node.name: node for node in graph.graph_def.node}
    repeated: set[str] = set()
    pending = [given.name]
    while pending:
        name = pending.pop()
        node = nodes[_node(name)]
        if _is_taken(name, taken.name) or node.name in repeated or not node.input:
            continue
        repeated.add(node.name)
        pending.extend(node.input)

    def replaced(name: str) -> str:
        if _is_taken(name, taken.name):
            return f"^{pixels}" if name.startswith("^") else pixels
        if _node(name) not in repeated:
            return name
        return f"^{scope}/{name[1:]}" if name.startswith("^") else f"{scope}/{name}"

    for name in sorted(repeated):
        copy = _add(graph.graph_def, nodes[name], f"{scope}/{name}", [replaced(each) for each in nodes[name].input])
        if "frame_name" in copy.attr:
            copy.attr["frame_name"].s = f"{scope}/".encode() + copy.attr["frame_name"].s
    return replaced(given.name)


def _is_taken(name: str, taken: str) -> bool:
    """Whether this is the tensor that a request feeds, or a wait for it."""
    return _node(name) == _node(taken) if name.startswith("^") else name.removesuffix(":0") == taken.removesuffix(":0")


def _add(definition: Any, node: Any, name: str, inputs: list[str]) -> Any:
    copy = definition.node.add()
    copy.CopyFrom(node)
    copy.name = name
    del copy.input[:]
    copy.input.extend(inputs)
    return copy


def _node(tensor: str) -> str:
    """'name:0' or '^name' to 'name'."""
    return tensor.removeprefix("^").split(":", 1)[0]


def _rename_calls(nodes: Iterable[Any], names: dict[str, str]) -> None:
    for node in nodes:
        for value in node.attr.values():
            for function in (*([value.func] if value.HasField("func") else []), *value.list.func):
                function.name = names[function.name]


def _announce(graph: Any, how: Classifier, scope: str, asset: str) -> None:
    """Tells TensorFlow Serving of the signature, the asset and what to run after loading."""
    signature = graph.signature_def[image.SIGNATURE]
    signature.method_name = tf.saved_model.PREDICT_METHOD_NAME
    rows = [None, how.returned]
    for described, name, dtype, shape in (
        (signature.inputs, image.IMAGE_BYTES, tf.string, [None]),
        (signature.outputs, image.LABELS, tf.string, rows),
        (signature.outputs, image.SCORES, tf.float32, rows),
    ):
        described[name].name = f"{scope}/{name}:0"
        described[name].dtype = dtype.as_datatype_enum
        described[name].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())

    definition = meta_graph_pb2.AssetFileDef(filename=asset)
    definition.tensor_info.name = f"{scope}/label_file:0"
    if graph.asset_file_def or _ASSETS_OF_1 not in graph.collection_def:
        graph.asset_file_def.add().CopyFrom(definition)
    else:  # where there are assets of TensorFlow 2, those of TensorFlow 1 are not read
        graph.collection_def[_ASSETS_OF_1].any_list.value.add().Pack(definition)

    initialize = graph.graph_def.node.add(name=f"{scope}/initialize", op="NoOp", input=[f"^{scope}/fill_table"])
    if (own := _own_initialization(graph)) is not None:
        initialize.input.append(f"^{_node(own)}")
    outputs = graph.signature_def[_INITIALIZE].outputs  # which counts before those of TensorFlow 1
    outputs[_INITIALIZE].name = initialize.name
    outputs[_INITIALIZE].tensor_shape.unknown_rank = True


def _own_initialization(graph: Any) -> str | None:
    """The node that the SavedModel itself has run after loading."""
    if _INITIALIZE in graph.signature_def:
        return str(graph.signature_def[_INITIALIZE].outputs[_INITIALIZE].name)
    for key in _INITIALIZE_OF_1:
        if key in graph.collection_def:
            return next((str(name) for name in graph.collection_def[key].node_list.value), None)
    return None


def _unused(name: str, taken: set[str]) -> str:
    stem, dot, suffix = name.partition(".")
    number = 0
    while (found := f"{stem}_{number}{dot}{suffix}" if number else name) in taken:
        number += 1
    taken.add(found)
    return found


def _impossible(why: str, *, code: str = "no_image_classifier") -> BadOptions:
    return BadOptions(
        f"Labels were given, but the SavedModel cannot be given a '{image.SIGNATURE}' signature: {why}.",
        hint="Leave labels and image options out, and it is served with its own signatures.",
        stage=Stage.TRACE,
        code=code,
    )
