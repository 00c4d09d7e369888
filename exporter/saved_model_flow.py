"""Where the paths in a SavedModel's graph come from, and what its signatures set in motion. Pure.

Every SavedModel has operations that read and write files: those that restore and save its variables, and those that fill
tables from its assets. They are harmless if the path is the one that the loader feeds, and no request makes them run.
A client can run what the outputs of a signature depend on, and nothing else.
"""

from collections.abc import Iterator

from exporter.errors import Finding
from exporter.graph_ops import CHECKPOINT, TABLE_FILES
from exporter.saved_model_proto import Body, MetaGraph, Node

_INTERNAL_SIGNATURE = "__saved_model_"
# Operation → the inputs that a path may come from. What joins strings keeps the folder of the first.
_PASSES_ON = {
    **dict.fromkeys(("Identity", "ShardedFilename", "ShardedFilespec", "StringJoin"), slice(0, 1)),
    **dict.fromkeys(("Reshape", "ExpandDims", "Squeeze", "Unpack", "AddV2", "Add"), slice(0, 1)),
    **dict.fromkeys(("Pack", "IdentityN", "MergeV2Checkpoints"), slice(None)),
    **dict.fromkeys(("Select", "SelectV2"), slice(1, 3)),
}
# Operation that calls a function → which of its inputs is the function's first argument.
_ARGUMENTS_FROM = {
    "PartitionedCall": 0,
    "StatefulPartitionedCall": 0,
    "If": 1,
    "StatelessIf": 1,
    "Case": 1,
    "StatelessCase": 1,
}
_MAIN = ""
_Place = tuple[str, str]
"""A function's name ('' for the graph itself) and a node's or argument's name in it."""


def findings(graph: MetaGraph) -> list[Finding]:
    """What reads or writes files where it should not."""
    flow = _Flow(graph)
    return [*flow.foreign_paths(), *flow.set_in_motion()]


class _Flow:
    def __init__(self, graph: MetaGraph) -> None:
        self._graph = graph
        self._bodies: dict[str, Body] = {_MAIN: graph.main, **graph.functions}
        self._calls: dict[str, list[tuple[str, Node]]] = {}
        for scope, body in self._bodies.items():
            for node in body.nodes.values():
                for function in node.functions:
                    self._calls.setdefault(function, []).append((scope, node))
        self._saver = _node_of(graph.saver_tensor)
        self._assets = {_node_of(tensor) for tensor in graph.asset_tensors}

    def foreign_paths(self) -> Iterator[Finding]:
        """Files that are neither the servable's own variables nor its assets."""
        for scope, body in self._bodies.items():
            for node in body.nodes.values():
                if node.op in CHECKPOINT:
                    right, inputs, what = {self._saver}, node.inputs[:1], "reads or writes files"
                elif node.op in TABLE_FILES:
                    right, inputs, what = self._assets, node.inputs[1:2], "reads a file that is no asset of the model"
                else:
                    continue
                origins = [origin for given in inputs for origin in self._origins(scope, given)]
                if foreign := [origin for origin in origins if origin[0] != _MAIN or origin[1] not in right]:
                    yield Finding(node.where, f"the operation {node.op} {what}: its path comes from '{foreign[0][1]}'")

    def set_in_motion(self) -> Iterator[Finding]:
        """Operations on files that run when a client asks for an output, or, of checkpoints, when the model is loaded."""
        served: list[str] = []
        loading: list[str] = []
        for name, signature in self._graph.signatures.items():
            if name.startswith(_INTERNAL_SIGNATURE):
                loading += signature.outputs
                continue
            served += signature.outputs
            if self._saver and self._saver in {_node_of(tensor) for tensor in signature.inputs}:
                yield Finding(f"signature {name}", "takes the path of the model's variables as an input")
        for outputs, refused, when in (
            (served, CHECKPOINT | TABLE_FILES, "when a signature is called"),
            (loading, CHECKPOINT, "when the model is loaded"),
        ):
            for node in self._reached_from(outputs):
                if node.op in refused:
                    yield Finding(node.where, f"the operation {node.op} reads or writes files {when}")

    def _origins(self, scope: str, tensor: str, *, through_variables: bool = True) -> list[_Place]:
        """The nodes of the graph that a value comes from, through functions, variables and what passes strings on."""
        found: list[_Place] = []
        pending, seen = [(scope, tensor)], set()
        while pending:
            scope, tensor = pending.pop()
            place = scope, _node_of(tensor)
            if place in seen:
                continue
            seen.add(place)
            body = self._bodies[scope]
            node = body.nodes.get(place[1])
            if node is None and place[1] in body.arguments:
                pending.extend(self._given(scope, body.arguments.index(place[1]), found))
            elif node is not None and node.op in _PASSES_ON:
                pending.extend((scope, given) for given in _data(node)[_PASSES_ON[node.op]])
            elif node is not None and node.op == "ReadVariableOp" and through_variables:
                assigned = list(self._assigned(scope, node))
                pending.extend(assigned)
                found += [] if assigned else [place]
            else:
                found.append(place)
        return found

    def _assigned(self, scope: str, reading: Node) -> Iterator[tuple[str, str]]:
        """What is ever assigned to the variable that is read: an asset's path lies in one."""
        wanted = self._variables(scope, reading)
        for other, body in self._bodies.items():
            for node in body.nodes.values():
                if node.op == "AssignVariableOp" and self._variables(other, node) & wanted:
                    yield from ((other, given) for given in _data(node)[1:2])

    def _variables(self, scope: str, node: Node) -> set[str]:
        """The variables that the first input of a node may be, by the names under which they are shared."""
        names = set()
        for where, name in self._first_origins(scope, node):
            holder = self._bodies[where].nodes.get(name)
            shared = b"" if holder is None else holder.strings.get("shared_name", b"")
            names.add(shared.decode("utf-8", "replace") or name)
        return names

    def _first_origins(self, scope: str, node: Node) -> list[_Place]:
        given = _data(node)
        return self._origins(scope, given[0], through_variables=False) if given else []

    def _given(self, function: str, position: int, found: list[_Place]) -> Iterator[tuple[str, str]]:
        """What the callers of a function give it; a function without callers never runs."""
        for scope, node in self._calls.get(function, ()):
            first = _ARGUMENTS_FROM.get(node.op)
            given = () if first is None else _data(node)[first + position : first + position + 1]
            if not given:
                found.append((scope, f"{node.name} ({node.op})"))  # a way that is not followed is no right way
            yield from ((scope, tensor) for tensor in given)

    def _reached_from(self, tensors: list[str]) -> Iterator[Node]:
        """All nodes that run to make these tensors, in the order of the search."""
        pending: list[_Place] = [(_MAIN, _node_of(tensor)) for tensor in tensors]
        seen: set[_Place] = set()
        entered: set[str] = set()
        while pending:
            place = pending.pop()
            node = self._bodies[place[0]].nodes.get(place[1])
            if place in seen or node is None:
                continue
            seen.add(place)
            yield node
            pending.extend((place[0], _node_of(given)) for given in node.inputs)
            for function in node.functions:
                if function in self._bodies and function not in entered:
                    entered.add(function)
                    pending.extend((function, name) for name in self._bodies[function].nodes)


def _data(node: Node) -> tuple[str, ...]:
    return tuple(given for given in node.inputs if not given.startswith("^"))


def _node_of(tensor: str) -> str:
    """'name:0', 'name:output:0' or '^name' to 'name'."""
    return tensor.removeprefix("^").split(":", 1)[0]
