"""A SavedModel's graph is checked for operations that reach outside of it, without TensorFlow."""

from pathlib import Path

import pytest
from google.protobuf import text_format

from exporter import NotAModel, ScanRefused, Unsupported, saved_model_proto, saved_model_scan

TESTDATA = Path(__file__).parents[4] / "shared" / "tf_serving_testdata"
GENUINE = sorted(TESTDATA.glob("*/*/saved_model.pb"))


def graph(text: str, *, signature: str = "serving_default", tag: str = "serve") -> bytes:
    message = saved_model_proto.MESSAGES["SavedModel"]()
    text_format.Parse(
        f'meta_graphs {{ meta_info_def {{ tags: "{tag}" }} signature_def {{ key: "{signature}" value {{}} }} {text} }}',
        message,
    )
    return message.SerializeToString()


def refusal(content: bytes) -> ScanRefused:
    with pytest.raises(ScanRefused) as refused:
        saved_model_scan.check(content, name="model")
    return refused.value


@pytest.mark.skipif(not GENUINE, reason="the models of TensorFlow Serving's own tests are not beside this repository")
@pytest.mark.parametrize("file", GENUINE, ids=lambda path: path.parent.parent.name)
def test_every_model_of_tensorflow_servings_own_tests_passes(file: Path) -> None:
    found = saved_model_scan.check(file.read_bytes(), name="model")
    assert "serve" in found.tags
    assert {"RestoreV2", "SaveV2"} <= {node.op for node in found.nodes}


@pytest.mark.skipif(not GENUINE, reason="the models of TensorFlow Serving's own tests are not beside this repository")
def test_signatures_and_assets_of_a_genuine_model_are_read() -> None:
    found = saved_model_scan.check(
        (TESTDATA / "saved_model_half_plus_two_cpu/00000123/saved_model.pb").read_bytes(), name="model"
    )
    assert found.signatures["serving_default"].method == "tensorflow/serving/predict"
    assert found.signatures["regress_x_to_y"].method == "tensorflow/serving/regress"
    assert found.asset_files == ("foo.txt",)


@pytest.mark.skipif(not GENUINE, reason="the models of TensorFlow Serving's own tests are not beside this repository")
def test_a_genuine_model_whose_identities_became_file_reads_is_refused() -> None:
    """'Identity' and 'ReadFile' are of equal length, so the message stays well-formed."""
    content = (TESTDATA / "saved_model_half_plus_two_cpu/00000123/saved_model.pb").read_bytes()
    refused = refusal(content.replace(b"\x12\x08Identity", b"\x12\x08ReadFile"))
    assert refused.code == "unsafe_operation"
    assert "ReadFile reads files" in str(refused)


@pytest.mark.parametrize(
    "op",
    [
        "WriteFile",
        "PyFunc",
        "EagerPyFunc",
        "TFRecordDatasetV2",
        "ExperimentalSqlDataset",
        "TextLineReaderV2",
        "DebugIdentityV3",
        "DatasetFromGraph",
        "TryRpc",
        "SaveDatasetV2",
        "ImmutableConst",
    ],
)
def test_an_operation_that_reaches_outside_is_refused_in_whatever_version(op: str) -> None:
    refused = refusal(graph(f'graph_def {{ node {{ name: "bad" op: "{op}" }} }}'))
    assert [(finding.where, op in finding.what) for finding in refused.findings] == [("graph, node bad", True)]


def test_an_operation_inside_a_function_is_found() -> None:
    library = 'library { function { signature { name: "call" } node_def { name: "n" op: "WriteFile" } } }'
    assert refusal(graph(f"graph_def {{ {library} }}")).findings[0].where == "function call, node n"


def test_a_refused_operation_in_a_graph_that_is_not_served_is_refused_too() -> None:
    content = graph("") + graph('graph_def { node { name: "n" op: "PyFunc" } }', tag="train")
    assert refusal(content).findings[0].where == "graph, node n"


def test_printing_is_harmless_unless_it_prints_to_a_file() -> None:
    node = 'graph_def {{ node {{ name: "p" op: "PrintV2" attr {{ key: "output_stream" value {{ s: "{}" }} }} }} }}'
    saved_model_scan.check(graph(node.format("stderr")), name="model")
    assert "writes files" in str(refusal(graph(node.format("file:///tmp/mark"))))


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd"])
def test_an_asset_outside_of_the_model_is_refused(file: str) -> None:
    assert file in str(refusal(graph(f'asset_file_def {{ filename: "{file}" }}')))


def test_a_model_without_a_graph_to_serve_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="train"):
        saved_model_scan.check(graph("", tag="train"), name="model")


def test_a_model_without_signatures_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="no signature"):
        saved_model_scan.check(graph("", signature="__saved_model_init_op"), name="model")


def test_bytes_that_are_no_message_are_no_model() -> None:
    with pytest.raises(NotAModel, match=r"saved_model\.pb"):
        saved_model_scan.check(b"\x12\xff\xff\xff\xff\x0fnonsense", name="model")


@pytest.mark.parametrize("where", [b"SomeName", b"SomeOpIs"])
def test_names_that_are_no_text_are_no_model(where: bytes) -> None:
    content = graph('graph_def { node { name: "SomeName" op: "SomeOpIs" } }')
    with pytest.raises(NotAModel, match="no text"):
        saved_model_scan.check(content.replace(where, b"\xff\x80" + where[2:]), name="model")
