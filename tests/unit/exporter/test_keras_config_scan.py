"""A .keras configuration is a program; only what is known to be harmless passes."""

import ast
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from exporter import NotAModel, ScanRefused, keras_scan
from exporter.keras_names import ALLOWED
from exporter.keras_scan import Loader

INPUT = {
    "module": "keras.layers",
    "class_name": "InputLayer",
    "config": {"batch_shape": [None, 4]},
    "registered_name": None,
}


def layer(class_name: str, *, module: str | None = "keras.layers", registered: str | None = None, **config: Any) -> Any:
    named = {"name": class_name.lower(), **config}
    return {"module": module, "class_name": class_name, "config": named, "registered_name": registered}


def sequential(*layers: Any, **extra: Any) -> bytes:
    config = {"name": "model", "layers": [INPUT, *layers]}
    return json.dumps({"module": "keras", "class_name": "Sequential", "config": config, **extra}).encode()


def refusal(config: bytes) -> ScanRefused:
    with pytest.raises(ScanRefused) as refused:
        keras_scan.check_keras_file(config, None, name="model.keras")
    return refused.value


def test_a_model_of_keras_own_layers_passes_and_tells_its_version() -> None:
    dense = layer("Dense", units=2, activation="relu", kernel_initializer=layer("Zeros", module="keras.initializers"))
    found = keras_scan.check_keras_file(sequential(dense), b'{"keras_version": "3.15.1"}', name="model.keras")
    assert (found.class_name, found.keras_version) == ("Sequential", "3.15.1")


def test_every_layer_of_the_installed_keras_is_either_allowed_or_refused_by_name() -> None:
    """Read from its source, as importing Keras would import TensorFlow."""
    found = importlib.util.find_spec("keras")
    assert found is not None
    assert found.submodule_search_locations is not None
    tree = ast.parse((Path(found.submodule_search_locations[0]) / "layers" / "__init__.py").read_text())
    exported = {
        name.asname or name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    layers = {name for name in exported if name[0].isupper()} - {"Layer", "Input", "InputSpec"}
    code_carrying = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
    assert layers - ALLOWED["keras.layers"] == code_carrying


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.src.applications.convnext", "LayerScale"),
        ("keras.src.applications.convnext", "StochasticDepth"),
        ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
    ],
)
def test_layers_that_only_keras_applications_use_pass(module: str, name: str) -> None:
    keras_scan.check_keras_file(sequential(layer(name, module=module, registered=name)), None, name="model.keras")


def test_operations_of_keras_ops_pass() -> None:
    add = layer("Add", module="keras.src.ops.numpy", registered="Add")
    assert keras_scan.check_keras_file(sequential(add), None, name="model.keras").class_name == "Sequential"


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_layers_that_carry_code_are_refused_by_name_and_place(name: str) -> None:
    refused = refusal(sequential(layer("Dense"), layer(name)))
    assert refused.code == "carries_code"
    assert [name in str(refused), refused.permanent] == [True, True]
    assert refused.findings[0].where == f"config.json.config.layers[2] (layer '{name.lower()}')"


def test_a_lambda_deep_inside_a_wrapped_and_nested_model_is_found() -> None:
    nested = layer("Sequential", module="keras", layers=[layer("TimeDistributed", layer=layer("Lambda"))])
    where = refusal(sequential(nested)).findings[0].where
    assert where == (
        "config.json.config.layers[1].config.layers[0] (layer 'timedistributed').config.layer (layer 'lambda')"
    )


def test_a_serialized_python_function_is_refused_wherever_a_value_may_stand() -> None:
    code = {"class_name": "__lambda__", "config": {"value": "gASV"}}
    assert refusal(sequential(layer("Dense", units=2, activation=code))).code == "carries_code"


@pytest.mark.parametrize(
    "hidden",
    [
        layer("get_file", module="keras.utils"),
        layer("load_model", module="keras.models"),
        layer("enable_unsafe_deserialization", module="keras.config"),
        layer("run", module="subprocess"),
        layer("Dense", module="keras.src.layers.core.dense"),
        layer("Map", module="keras.src.ops.core", registered="Map"),
        layer("Mine", module=None, registered="package>Mine"),
        layer("Dense", registered="package>Dense"),
        {"class_name": "Dense", "config": {}},
        {"class_name": ["Dense"], "module": "keras.layers", "config": {}},
        {"class_name": "function", "module": "builtins", "config": "get_file", "registered_name": "function"},
        {"class_name": "function", "module": "os", "config": "system", "registered_name": "function"},
        {"class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "config": []},
        {"spec_name": "Popen", "module": "subprocess"},
    ],
)
def test_what_is_not_known_to_be_harmless_is_refused(hidden: Any) -> None:
    assert refusal(sequential(layer("Dense"), hidden)).code == "unknown_class"


def test_a_vocabulary_that_is_a_path_is_refused() -> None:
    refused = refusal(sequential(layer("StringLookup", vocabulary="/etc/passwd")))
    assert "/etc/passwd" in refused.findings[0].what


def test_a_vocabulary_that_is_a_list_passes() -> None:
    keras_scan.check_keras_file(sequential(layer("StringLookup", vocabulary=["a", "b"])), None, name="model.keras")


def test_a_custom_loss_is_no_reason_for_refusal_as_the_model_is_loaded_without_it() -> None:
    compiled = {"loss": layer("MyLoss", module=None, registered="package>MyLoss")}
    keras_scan.check_keras_file(sequential(layer("Dense"), compile_config=compiled), None, name="model.keras")


def test_a_custom_loss_of_a_nested_model_is_refused_as_keras_does_read_that_one() -> None:
    nested = {**layer("Sequential", module="keras", layers=[]), "compile_config": {"loss": layer("Mine", module=None)}}
    assert "compile_config.loss" in refusal(sequential(nested)).findings[0].where


def test_all_findings_are_listed() -> None:
    assert len(refusal(sequential(layer("Lambda"), layer("Dense"), layer("TFSMLayer"))).findings) == 2


def test_a_file_of_keras_2_goes_to_tf_keras() -> None:
    config = json.dumps({"module": "tf_keras.src.engine.functional", "class_name": "Functional", "config": {}}).encode()
    found = keras_scan.check_keras_file(config, b'{"keras_version": "2.15.0"}', name="model.keras")
    assert (found.loader, found.keras_version) == (Loader.KERAS_2, "2.15.0")


@pytest.mark.parametrize("config", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"[" * 200_000, b'{"class_name": 3}'])
def test_what_is_no_configuration_is_no_model(config: bytes) -> None:
    with pytest.raises(NotAModel, match=r"model\.keras"):
        keras_scan.check_keras_file(config, None, name="model.keras")
