"""What Keras 2 wrote is checked by names of its own before tf_keras, which would run anything, sees it."""

import json
from typing import Any

import pytest

from exporter import NotAModel, ScanRefused, keras_scan
from exporter.keras_scan import Loader


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": "it", **config}}


def model(*layers: Any) -> str:
    return json.dumps({"class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}})


def refusal(config: str, version: str | None = "2.15.0") -> ScanRefused:
    with pytest.raises(ScanRefused) as refused:
        keras_scan.check_hdf5(config, version, name="m.h5")
    return refused.value


@pytest.mark.parametrize(
    "passing",
    [
        layer("Dense", units=1, kernel_initializer={"class_name": "GlorotUniform", "config": {"seed": None}}),
        layer("Bidirectional", layer=layer("LSTM", units=2, time_major=False)),
        layer("Sequential", layers=[layer("DepthwiseConv2D", groups=1)]),
        layer("TFOpLambda", function="math.reduce_mean"),
        layer("TFOpLambda", function="__operators__.add"),
        layer("TFOpLambda", function="compat.v1.nn.relu"),
        layer("TFOpLambda", function="concat"),
        layer("SlicingOpLambda", function="__operators__.getitem"),
        layer("TensorFlowOpLayer", node_def=json.dumps({"name": "n", "op": "AddV2"})),
        layer("StringLookup", vocabulary=["a"]),
        layer("Dense", activation={"class_name": "function", "config": "relu", "module": "builtins"}),
        {"module": "keras.layers", "registered_name": None, **layer("Dense", units=1)},
    ],
)
def test_layers_of_keras_2_pass_with_and_without_their_module(passing: Any) -> None:
    assert keras_scan.check_hdf5(model(passing), "2.15.0", name="m.h5").loader is Loader.KERAS_2


def test_a_model_as_the_first_keras_2_wrote_it_passes() -> None:
    config = json.dumps({"class_name": "Sequential", "config": [layer("Dense"), layer("Dropout")]})
    assert keras_scan.check_hdf5(config, "2.0.5", name="m.h5").loader is Loader.KERAS_2


@pytest.mark.parametrize("version", ["2.15.0", "3.15.1", None])
@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "TorchModuleWrapper"])
def test_layers_that_carry_code_are_refused_wherever_they_are(name: str, version: str | None) -> None:
    nested = layer("Sequential", layers=[layer("TimeDistributed", layer=layer(name, function=["4wEA", None, None]))])
    refused = refusal(model(layer("Dense"), nested), version)
    assert refused.code == "carries_code"
    assert refused.findings[0].where == "model_config.config.layers[1].config.layers[0].config.layer"


@pytest.mark.parametrize(
    "function",
    [
        "io.write_file", "io.read_file", "py_function", "numpy_function", "compat.v1.py_func", "raw_ops.WriteFile",
        "load_library", "saved_model.load", "keras.models.load_model", "map_fn", "while_loop", "math", "math..x",
        "__operators__.add.__globals__", "data.Dataset.from_generator", "nn.relu;os", "", None, ["math.add"],
    ],
)  # fmt: skip
def test_an_operation_that_is_not_known_to_compute_only_is_refused(function: object) -> None:
    refused = refusal(model(layer("TFOpLambda", function=function)))
    assert str(function) in refused.findings[0].what


@pytest.mark.parametrize(
    "hidden",
    [
        layer("SlicingOpLambda", function="io.read_file"),
        layer("TensorFlowOpLayer", node_def=json.dumps({"name": "n", "op": "WriteFile"})),
        layer("TensorFlowOpLayer", node_def={"name": "n", "op": "ReadFile"}),
        layer("TensorFlowOpLayer", node_def="{"),
        layer("ClassMethod", cls_symbol="data.Dataset", method_name="from_generator"),
        layer("InstanceMethod", method_name="numpy"),
        layer("Mine"),
        layer("package>Mine"),
        layer("DenseFeatures"),
        layer("StringLookup", vocabulary="/etc/passwd"),
        {"module": "os", **layer("system")},
        {"module": "tf_keras.src.utils.data_utils", **layer("get_file")},
        {"module": "keras.layers", **layer("Lambda2")},
        {"class_name": "function", "config": "system", "module": "os"},
        {"class_name": "TypeSpec", "type_spec": "x", "serialized": []},
    ],
)
def test_what_is_not_known_to_be_harmless_is_refused(hidden: Any) -> None:
    assert refusal(model(layer("Dense"), hidden)).code == "unknown_class"


def test_a_class_that_the_settings_trust_passes_and_no_other() -> None:
    config = model(layer("package>Mine"))
    allowed = frozenset({"their.layers.Mine"})
    assert keras_scan.check_hdf5(config, "2.15.0", name="m.h5", allowed=allowed).class_name == "Sequential"
    with pytest.raises(ScanRefused, match="Yours"):
        keras_scan.check_hdf5(model(layer("Yours")), "2.15.0", name="m.h5", allowed=allowed)
    with pytest.raises(ScanRefused, match="Lambda"):
        keras_scan.check_hdf5(model(layer("Lambda")), "2.15.0", name="m.h5", allowed=frozenset({"their.layers.Lambda"}))


def test_a_class_that_the_settings_trust_passes_in_a_file_of_keras_3_only_from_its_own_module() -> None:
    def config(module: str) -> bytes:
        mine = {"module": module, "registered_name": "package>Mine", **layer("Mine")}
        return json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": [mine]}}).encode()

    allowed = frozenset({"their.layers.Mine"})
    keras_scan.check_keras_file(config("their.layers"), None, name="m.keras", allowed=allowed)
    with pytest.raises(ScanRefused, match=r"os\.Mine|package>Mine"):
        keras_scan.check_keras_file(config("os"), None, name="m.keras", allowed=allowed)


@pytest.mark.parametrize("config", ["", "{", "[]", "{}", "[" * 200_000, '{"class_name": 3}', "\udcff"])
def test_what_is_no_configuration_is_no_model(config: str) -> None:
    with pytest.raises(NotAModel, match=r"m\.h5"):
        keras_scan.check_hdf5(config, "2.15.0", name="m.h5")
