"""Operations on files are harmless with the loader's own path and out of a client's reach, and nowhere else."""

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import ExportError, ScanRefused, saved_model_proto, saved_model_scan

SAVER = 'saver_def { filename_tensor_name: "saver_filename:0" }'
PATH = 'node { name: "saver_filename" op: "Placeholder" }'
ASSET = 'asset_file_def { tensor_info { name: "asset:0" } filename: "vocabulary.txt" }'


def meta(graph: str, *, around: str = "", outputs: str = "y:0", inputs: str = "x:0", init: str | None = None) -> bytes:
    signature = (
        f'signature_def {{ key: "serving_default" value {{ method_name: "tensorflow/serving/predict" '
        f'inputs {{ key: "x" value {{ name: "{inputs}" }} }} outputs {{ key: "y" value {{ name: "{outputs}" }} }} }} }}'
    )
    if init is not None:
        signature += (
            'signature_def { key: "__saved_model_init_op" value '
            f'{{ outputs {{ key: "i" value {{ name: "{init}" }} }} }} }}'
        )
    message = saved_model_proto.MESSAGES["SavedModel"]()
    nodes = 'node { name: "x" op: "Placeholder" } node { name: "y" op: "Identity" input: "x" }'
    text = f'meta_graphs {{ meta_info_def {{ tags: "serve" }} {signature} {around} graph_def {{ {nodes} {graph} }} }}'
    text_format.Parse(text, message)
    return message.SerializeToString()


def call(*inputs: str, name: str = "c", kind: str = "node") -> str:
    given_inputs = " ".join(f'input: "{each}"' for each in inputs)
    function = 'attr { key: "f" value { func { name: "f" } } }'
    return f'{kind} {{ name: "{name}" op: "StatefulPartitionedCall" {given_inputs} {function} }}'


def saving_function(*arguments: str) -> str:
    given_arguments = " ".join(f'input_arg {{ name: "{each}" }}' for each in arguments)
    save = f'node_def {{ name: "s" op: "SaveV2" input: "{arguments[-1]}" }}'
    return f'library {{ function {{ signature {{ name: "f" {given_arguments} }} {save} }} }}'


def findings(content: bytes) -> list[str]:
    with pytest.raises(ScanRefused) as refused:
        saved_model_scan.check(content, name="model")
    return [str(finding) for finding in refused.value.findings]


RESTORE = 'node { name: "restore" op: "RestoreV2" input: "PATH" input: "names" input: "slices" }'


def test_restoring_from_the_path_that_the_loader_feeds_passes_also_through_a_function() -> None:
    function = (
        'library { function { signature { name: "f" input_arg { name: "prefix" } } '
        'node_def { name: "j" op: "StringJoin" input: "prefix" input: "part" } '
        'node_def { name: "s" op: "SaveV2" input: "j:output:0" } } }'
    )
    saved_model_scan.check(
        meta(PATH + RESTORE.replace("PATH", "saver_filename") + call("saver_filename") + function, around=SAVER),
        name="m",
    )


def test_restoring_from_a_path_of_its_own_is_refused() -> None:
    constant = 'node { name: "elsewhere" op: "Const" }'
    (found,) = findings(meta(PATH + constant + RESTORE.replace("PATH", "elsewhere"), around=SAVER))
    assert (
        found == "graph, node restore: the operation RestoreV2 reads or writes files: its path comes from 'elsewhere'"
    )


def test_a_path_of_its_own_given_to_a_function_by_one_of_its_callers_is_refused() -> None:
    calls = call("x", "saver_filename", name="right") + call("x", "elsewhere", name="wrong")
    constant = 'node { name: "elsewhere" op: "Const" }'
    (found,) = findings(meta(PATH + constant + calls + saving_function("a", "prefix"), around=SAVER))
    assert found.startswith("function f, node s") and "'elsewhere'" in found


def test_saving_that_a_client_can_set_off_is_refused_whatever_its_path() -> None:
    save = 'node { name: "save" op: "SaveV2" input: "saver_filename" }'
    save += 'node { name: "z" op: "Identity" input: "x" input: "^save" }'
    assert findings(meta(PATH + save, around=SAVER, outputs="z:0")) == [
        "graph, node save: the operation SaveV2 reads or writes files when a signature is called"
    ]
    saved_model_scan.check(meta(PATH + save, around=SAVER), name="m")


def test_saving_in_a_function_that_a_client_can_set_off_is_refused() -> None:
    graph = PATH + call("saver_filename") + saving_function("p")
    assert "when a signature is called" in findings(meta(graph, around=SAVER, outputs="c:0"))[0]


def test_saving_when_the_model_is_loaded_is_refused() -> None:
    save = 'node { name: "save" op: "SaveV2" input: "saver_filename" }'
    assert "when the model is loaded" in findings(meta(PATH + save, around=SAVER, init="save"))[0]


def test_a_signature_that_takes_the_variables_path_is_refused() -> None:
    assert "takes the path" in findings(meta(PATH, around=SAVER, inputs="saver_filename:0"))[0]


TABLE = 'node { name: "t" op: "InitializeTableFromTextFileV2" input: "table" input: "FILE" }'
THROUGH_A_VARIABLE = (
    'node { name: "asset" op: "Placeholder" } node { name: "v" op: "VarHandleOp" attr { key: "shared_name" value { s: "v" } } } '
    'node { name: "a" op: "AssignVariableOp" input: "v" input: "asset" } node { name: "r" op: "ReadVariableOp" input: "v" }'
)


def test_a_table_is_filled_from_an_asset_also_through_a_variable() -> None:
    direct = 'node { name: "asset" op: "Placeholder" }' + TABLE.replace("FILE", "asset")
    for graph in (direct, THROUGH_A_VARIABLE + TABLE.replace("FILE", "r")):
        saved_model_scan.check(meta(graph, around=ASSET, init="t"), name="m")


def test_a_table_from_another_file_is_refused() -> None:
    graph = 'node { name: "file" op: "Const" }' + TABLE.replace("FILE", "file")
    assert "no asset of the model: its path comes from 'file'" in findings(meta(graph, around=ASSET, init="t"))[0]


def test_a_variable_that_is_also_assigned_another_file_under_its_shared_name_is_refused() -> None:
    alias = (
        'node { name: "file" op: "Const" } node { name: "w" op: "VarHandleOp" attr { key: "shared_name" value { s: "v" } } } '
        'node { name: "b" op: "AssignVariableOp" input: "w" input: "file" }'
    )
    graph = THROUGH_A_VARIABLE + alias + TABLE.replace("FILE", "r")
    assert "'file'" in findings(meta(graph, around=ASSET, init="t"))[0]


def test_an_operation_that_nobody_knows_is_refused() -> None:
    (found,) = findings(meta('node { name: "n" op: "SomebodysOwnOp" }'))
    assert (
        found == "graph, node n: the operation SomebodysOwnOp is none of those that are known to do nothing but compute"
    )


def test_two_functions_of_one_name_are_refused() -> None:
    function = 'library { function { signature { name: "f" } } function { signature { name: "f" } } }'
    assert findings(meta(function)) == ["graph: has two of the name 'f'"]


def test_functions_that_call_each_other_end() -> None:
    functions = "".join(
        f'function {{ signature {{ name: "{name}" input_arg {{ name: "p" }} }} node_def {{ name: "c" '
        f'op: "PartitionedCall" input: "p" attr {{ key: "f" value {{ func {{ name: "{other}" }} }} }} }} '
        'node_def { name: "s" op: "SaveV2" input: "p" } }'
        for name, other in (("f", "g"), ("g", "f"))
    )
    saved_model_scan.check(meta(f"library {{ {functions} }}", around=SAVER), name="m")


_NAMES = st.sampled_from(["x", "y", "a", "b", "p", "f", "saver_filename", "^a", "b:0", "p:out:0", "", "nowhere"])
_OPS = st.sampled_from(
    [
        *("Identity", "SaveV2", "RestoreV2", "StatefulPartitionedCall", "If", "ReadVariableOp", "AssignVariableOp"),
        *(
            "VarHandleOp",
            "StringJoin",
            "Pack",
            "InitializeTableFromTextFileV2",
            "Select",
            "While",
            "MergeV2Checkpoints",
        ),
    ]
)
_NODES = st.lists(st.tuples(_NAMES, _OPS, st.lists(_NAMES, max_size=4), st.sampled_from(["f", "g", "h"])), max_size=8)


@settings(max_examples=300, deadline=None)
@given(main=_NODES, functions=st.lists(st.tuples(st.sampled_from(["f", "g"]), _NODES), max_size=2), output=_NAMES)
def test_any_graph_is_judged_in_bounded_time_and_by_errors_of_ours(
    main: list[tuple[str, str, list[str], str]],
    functions: list[tuple[str, list[tuple[str, str, list[str], str]]]],
    output: str,
) -> None:
    def nodes(kind: str, given_nodes: list[tuple[str, str, list[str], str]]) -> str:
        return " ".join(
            f'{kind} {{ name: "{name}" op: "{op}" {" ".join(f"input: {chr(34)}{each}{chr(34)}" for each in inputs)} '
            f'attr {{ key: "f" value {{ func {{ name: "{function}" }} }} }} }}'
            for name, op, inputs, function in given_nodes
        )

    library = " ".join(
        f'function {{ signature {{ name: "{name}" input_arg {{ name: "p" }} }} {nodes("node_def", body)} }}'
        for name, body in functions
    )
    content = meta(f"{nodes('node', main)} library {{ {library} }}", around=SAVER + ASSET, outputs=output, init="a")
    try:
        saved_model_scan.check(content, name="m")
    except ExportError as refused:
        assert refused.hint


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_graph_with_any_bytes_changed_is_read_or_refused_by_an_error_of_ours(data: st.DataObject) -> None:
    content = bytearray(meta(PATH + THROUGH_A_VARIABLE + TABLE.replace("FILE", "r"), around=SAVER + ASSET, init="t"))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        saved_model_scan.check(bytes(content[: data.draw(st.integers(0, len(content)))]), name="m")
    except ExportError as refused:
        assert refused.hint
