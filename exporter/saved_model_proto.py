"""The few fields of TensorFlow's ``SavedModel`` message that a scan needs, read without TensorFlow.

The numbers are those of saved_model.proto, meta_graph.proto, graph.proto, node_def.proto, function.proto and
op_def.proto, which protobuf forbids to change; fields that are not listed are skipped by the parser.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import message

from exporter.messages import Messages

_ASSETS_COLLECTION = "saved_model_assets"
_VARIABLES = frozenset({"VarHandleOp", "Variable", "VariableV2"})
# message → (name, number, type, repeated); a type that starts with a capital is a message of this table.
MESSAGES = Messages(
    "slipway.saved_model",
    {
        "SavedModel": (("meta_graphs", 2, "MetaGraph", True),),
        "MetaGraph": (
            ("meta_info_def", 1, "MetaInfo", False),
            ("graph_def", 2, "Graph", False),
            ("collection_def", 4, "CollectionEntry", True),
            ("saver_def", 3, "Saver", False),
            ("signature_def", 5, "SignatureEntry", True),
            ("asset_file_def", 6, "AssetFile", True),
        ),
        "MetaInfo": (("tags", 4, "string", True),),
        "Graph": (("node", 1, "Node", True), ("library", 2, "Library", False)),
        "Node": (
            ("name", 1, "string", False),
            ("op", 2, "string", False),
            ("input", 3, "string", True),
            ("attr", 5, "AttrEntry", True),
        ),
        "AttrEntry": (("key", 1, "string", False), ("value", 2, "Attr", False)),
        "Attr": (("s", 2, "bytes", False), ("func", 10, "FunctionName", False), ("list", 1, "AttrList", False)),
        "AttrList": (("func", 9, "FunctionName", True),),
        "FunctionName": (("name", 1, "string", False),),
        "Library": (("function", 1, "Function", True),),
        "Function": (
            ("signature", 1, "Op", False),
            ("node_def", 3, "Node", True),
            ("ret", 4, "Result", True),
        ),
        "Result": (("key", 1, "string", False), ("value", 2, "string", False)),
        "Op": (("name", 1, "string", False), ("input_arg", 2, "Argument", True), ("output_arg", 3, "Argument", True)),
        "Argument": (("name", 1, "string", False),),
        "Saver": (
            ("filename_tensor_name", 1, "string", False),
            ("save_tensor_name", 2, "string", False),
            ("restore_op_name", 3, "string", False),
        ),
        "SignatureEntry": (("key", 1, "string", False), ("value", 2, "Signature", False)),
        "Signature": (
            ("inputs", 1, "TensorEntry", True),
            ("outputs", 2, "TensorEntry", True),
            ("method_name", 3, "string", False),
        ),
        "TensorEntry": (("key", 1, "string", False), ("value", 2, "Tensor", False)),
        "Tensor": (("name", 1, "string", False),),
        "CollectionEntry": (("key", 1, "string", False), ("value", 2, "Collection", False)),
        "Collection": (("any_list", 5, "AnyList", False),),
        "AnyList": (("value", 1, "Any", True),),
        "Any": (("value", 2, "bytes", False),),
        "AssetFile": (("tensor_info", 1, "Tensor", False), ("filename", 2, "string", False)),
    },
)


class UnparsableError(ValueError):
    """The bytes are no SavedModel message."""


@dataclass(frozen=True)
class Node:
    """An operation of the graph or of one of its functions, with its string attributes and the functions it names."""

    where: str
    name: str
    op: str
    inputs: tuple[str, ...]
    strings: dict[str, bytes]
    functions: tuple[str, ...]


@dataclass(frozen=True)
class Body:
    """The nodes of the graph itself, or of one function: by name, with the function's arguments in their order."""

    nodes: dict[str, Node]
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class SignatureTensors:
    """What TensorFlow Serving feeds and fetches for a signature."""

    method: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class MetaGraph:
    """One graph of a SavedModel: its tags, its signatures' names and methods, the files that it asks for, its nodes."""

    tags: frozenset[str]
    signatures: dict[str, SignatureTensors]
    asset_files: tuple[str, ...]
    asset_tensors: frozenset[str]
    saver_tensor: str
    main: Body
    functions: dict[str, Body]
    doubles: tuple[str, ...]
    """Names of functions or nodes that are there twice, so that it depends on the reader which one counts."""

    @property
    def nodes(self) -> Iterator[Node]:
        """All operations, wherever they are."""
        for body in (self.main, *self.functions.values()):
            yield from body.nodes.values()


def parse(content: bytes) -> list[MetaGraph]:
    """The graphs of a ``saved_model.pb``.

    Raises:
        UnparsableError: it is none.
    """
    try:
        saved_model: Any = MESSAGES["SavedModel"].FromString(content)
        return [_meta_graph(graph) for graph in saved_model.meta_graphs]
    except message.DecodeError as error:
        raise UnparsableError(str(error)) from error


@dataclass(frozen=True)
class Wants:
    """The files that a SavedModel asks for beside its graph. ``saver``: it was written together with variables, or none."""

    assets: frozenset[str]
    variables: bool
    saver: bool


def wants(content: bytes) -> Wants:
    """What the graphs of a ``saved_model.pb`` need in order to be loaded, without looking at what they compute.

    Raises:
        UnparsableError: it is none.
    """
    try:
        graphs = MESSAGES["SavedModel"].FromString(content).meta_graphs  # type: ignore[attr-defined]  # made from a table
        return Wants(
            assets=frozenset(str(asset.filename) for graph in graphs for asset in _assets(graph)),
            variables=any(node.op in _VARIABLES for graph in graphs for node in graph.graph_def.node),
            saver=any(bool(graph.saver_def.restore_op_name) for graph in graphs),
        )
    except message.DecodeError as error:
        raise UnparsableError(str(error)) from error


def _meta_graph(graph: Any) -> MetaGraph:
    assets = list(_assets(graph))
    main = _body("graph", graph.graph_def.node)
    library = graph.graph_def.library.function
    functions = {
        _text(function.signature.name): _body(
            f"function {_text(function.signature.name)}",
            function.node_def,
            tuple(argument.name for argument in function.signature.input_arg),
        )
        for function in library
    }
    doubles = [name for name, count in Counter(function.signature.name for function in library).items() if count > 1]
    for nodes in (graph.graph_def.node, *(function.node_def for function in library)):
        doubles += [name for name, count in Counter(node.name for node in nodes).items() if count > 1]
    return MetaGraph(
        tags=frozenset(_text(tag) for tag in graph.meta_info_def.tags),
        signatures={
            _text(entry.key): SignatureTensors(
                _text(entry.value.method_name),
                tuple(tensor.value.name for tensor in entry.value.inputs),
                tuple(tensor.value.name for tensor in entry.value.outputs),
            )
            for entry in graph.signature_def
        },
        asset_files=tuple(asset.filename for asset in assets),
        asset_tensors=frozenset(asset.tensor_info.name for asset in assets),
        saver_tensor=_text(graph.saver_def.filename_tensor_name),
        main=main,
        functions=functions,
        doubles=tuple(doubles),
    )


def _assets(graph: Any) -> Iterator[Any]:
    """Assets as TensorFlow 2 lists them, and as TensorFlow 1 does, packed in a collection; both are read on loading."""
    yield from graph.asset_file_def
    for collection in graph.collection_def:
        if collection.key == _ASSETS_COLLECTION:
            for packed in collection.value.any_list.value:
                yield MESSAGES["AssetFile"].FromString(packed.value)


def _text(value: str | bytes) -> str:
    """Names in TensorFlow's own messages are UTF-8, else it does not read them; protobuf gives others as bytes."""
    if isinstance(value, bytes):
        raise UnparsableError(f"a name that is no text: {value[:40]!r}")
    return value


def _body(where: str, nodes: Iterable[Any], arguments: tuple[str, ...] = ()) -> Body:
    return Body({_text(node.name): _node(where, node) for node in nodes}, arguments)


def _node(where: str, node: Any) -> Node:
    strings, functions = {}, []
    for entry in node.attr:
        if entry.value.HasField("s"):
            strings[_text(entry.key)] = entry.value.s
        if entry.value.HasField("func"):
            functions.append(_text(entry.value.func.name))
        functions += [_text(function.name) for function in entry.value.list.func]
    return Node(
        f"{where}, node {_text(node.name)}",
        _text(node.name),
        _text(node.op),
        tuple(_text(given) for given in node.input),
        strings,
        tuple(functions),
    )
