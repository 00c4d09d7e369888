"""The OpenAPI documents are valid by an independent validator, and their schemas take what TensorFlow Serving takes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from deployer.openapi import endpoint, examples, for_all, for_model
from deployer.openapi.examples import predict_body
from deployer.record import ModelRecord, Route, VersionRecord

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
FLOAT = {"dtype": "float32", "shape": [None, 2]}
TEXT = {"dtype": "string", "shape": [None]}


def signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str = "predict") -> dict[str, Any]:
    return {"method": f"tensorflow/serving/{method}", "inputs": dict(inputs), "outputs": dict(outputs)}


SIGNATURES: dict[str, dict[str, Any]] = {
    "classifier": {
        "serving_default": signature({"image": {"dtype": "float32", "shape": [None, 224, 224, 3]}}, {"dense": FLOAT}),
        "classify_image": signature({"image_bytes": TEXT}, {"labels": TEXT, "scores": FLOAT}),
    },
    "one input": {"serving_default": signature({"x": FLOAT}, {"y": FLOAT})},
    "several": {"serving_default": signature({"a": FLOAT, "b": {"dtype": "int32", "shape": [None]}}, {"y": FLOAT})},
    "strings": {"serving_default": signature({"text": TEXT}, {"y": {"dtype": "string", "shape": [None, None]}})},
    "scalar": {"serving_default": signature({"x": {"dtype": "float32", "shape": []}}, {"y": FLOAT})},
    "mixed": {"serving_default": signature({"x": FLOAT, "k": {"dtype": "int64", "shape": []}}, {"y": FLOAT})},
    "any rank": {"serving_default": signature({"x": {"dtype": "float32", "shape": None}}, {"y": FLOAT})},
    "ragged rows": {"serving_default": signature({"x": {"dtype": "int32", "shape": [None, None]}}, {"y": FLOAT})},
    "booleans": {"serving_default": signature({"x": {"dtype": "bool", "shape": [None]}}, {"y": FLOAT})},
    "other name": {"embed": signature({"x": FLOAT}, {"y": FLOAT})},
    "no inputs": {"serving_default": signature({}, {})},
    "estimator": {
        "serving_default": signature({"inputs": TEXT}, {"classes": TEXT, "scores": FLOAT}, "classify"),
        "regression": signature({"inputs": TEXT}, {"outputs": FLOAT}, "regress"),
        "second": signature({"inputs": TEXT}, {"outputs": FLOAT}, "regress"),
    },
    "unknown": {"serving_default": {}},
    "none": {},
}


def record(signatures: Mapping[str, Any], name: str = "cats", **changes: Any) -> ModelRecord:
    version = VersionRecord(
        version=1, identity="a", state="serving", created=NOON, signatures=dict(signatures)
    )  # fmt: skip
    route = Route(version=1, address="http://10.0.0.1:8501")
    return ModelRecord(name=name, updated=NOON, versions=(version,), desired=1, route=route).but(**changes)


def validated(document: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(document))
    OpenAPIV31SpecValidator(plain).validate()
    return plain


def predict_schema(signatures: Mapping[str, Any]) -> Any:
    document = for_model(record(signatures))
    return document["paths"]["/v1/models/cats:predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]


def takes(signatures: Mapping[str, Any], body: object) -> bool:
    return bool(jsonschema.Draft202012Validator(predict_schema(signatures)).is_valid(body))


@pytest.mark.parametrize("signatures", SIGNATURES.values(), ids=SIGNATURES)
def test_a_models_document_is_valid_whatever_its_signatures(signatures: Mapping[str, Any]) -> None:
    document = validated(for_model(record(signatures)))
    assert ("/classify/cats" in document["paths"]) == ("classify_image" in signatures)
    assert "/v1/models/cats:predict" in document["paths"]


def test_a_document_says_which_keys_open_its_server() -> None:
    open_to_all = validated(for_model(record(SIGNATURES["classifier"])))
    assert open_to_all["servers"] == [{"url": "/api"}]
    assert set(open_to_all["components"]["securitySchemes"]) == {"functionKey", "functionCode"}
    keyed = validated(for_model(record(SIGNATURES["classifier"]), keyed=True))
    assert (keyed["servers"], keyed["security"]) == ([{"url": "/api/keyed"}], [{"modelKey": []}])
    assert set(keyed["paths"]) == set(open_to_all["paths"])
    for sample in keyed["paths"]["/classify/cats"]["post"]["x-codeSamples"]:
        assert "x-slipway-key" in sample["source"] and "/api/keyed/classify/cats" in sample["source"]
        assert "x-functions-key" not in sample["source"]


def test_the_document_of_all_has_every_model_and_the_control_paths() -> None:
    records = [record(SIGNATURES["classifier"], "cats"), record(SIGNATURES["several"], "prices")]
    paths = validated(for_all(records))["paths"]
    served = {"/classify/cats", "/v1/models/cats:predict", "/v1/models/prices:predict", "/models", "/cluster"}
    assert served <= set(paths)
    assert "/classify/prices" not in paths
    assert paths["/health"]["get"]["security"] == []


def test_a_slipway_without_models_has_a_document() -> None:
    assert "/models" in validated(for_all([]))["paths"]
    bare = ModelRecord(name="cats", updated=NOON)
    assert list(validated(for_model(bare))["paths"]) == ["/operations/{id}"]


def test_a_sleeping_model_is_described_by_the_version_that_will_serve() -> None:
    asleep = record(SIGNATURES["classifier"], route=None, asleep=True)
    assert "/classify/cats" in for_model(asleep)["paths"]


def test_operations_have_names_of_their_own() -> None:
    document = for_all([record(SIGNATURES["classifier"], name) for name in ("cats", "dogs", "model")])
    names = [
        operation["operationId"]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))


def test_row_and_column_format_are_both_taken() -> None:
    one = SIGNATURES["one input"]
    assert takes(one, {"instances": [[1, 2], [3, 4]]})
    assert takes(one, {"instances": [{"x": [1, 2]}]})
    assert takes(one, {"inputs": [[1, 2]]})
    assert takes(one, {"signature_name": "serving_default", "inputs": {"x": [[1, 2]]}})
    assert not takes(one, {"inputs": [[1, 2, 3]]})
    assert not takes(one, {"inputs": [["a", "b"]]})
    assert not takes(one, {"signature_name": "other", "inputs": [[1, 2]]})
    assert not takes(one, {})


def test_several_inputs_go_by_name() -> None:
    several = SIGNATURES["several"]
    assert takes(several, {"inputs": {"a": [[1, 2]], "b": [3]}})
    assert takes(several, {"instances": [{"a": [1, 2], "b": 3}]})
    assert not takes(several, {"inputs": {"a": [[1, 2]]}})
    assert not takes(several, {"instances": [{"a": [1, 2], "b": 3000000000}]})


def test_an_input_without_a_batch_has_no_row_format() -> None:
    for name in ("scalar", "mixed"):
        assert not takes(SIGNATURES[name], {"instances": [1]})
    assert takes(SIGNATURES["scalar"], {"inputs": 0.5})


def test_strings_are_text_or_base64() -> None:
    assert takes(SIGNATURES["strings"], {"instances": ["a", {"b64": "AAAA"}]})
    assert not takes(SIGNATURES["strings"], {"instances": [1]})


def schema_of(document: Mapping[str, Any], path: str, method: str, status: str | None = None) -> Any:
    """Of the request, or of the answer with this status."""
    operation = document["paths"][path][method]
    part = operation["requestBody"] if status is None else operation["responses"][status]
    return jsonschema.Draft202012Validator(part["content"]["application/json"]["schema"])


def test_classify_and_regress_are_described_where_a_signature_has_that_method() -> None:
    document = validated(for_model(record(SIGNATURES["estimator"])))
    classify, regress = (schema_of(document, f"/v1/models/cats:{method}", "post") for method in ("classify", "regress"))
    examples = [{"age": 3, "name": ["a", {"b64": "AAAA"}], "weights": [0.5, 1], "tame": True}]
    assert classify.is_valid({"examples": examples, "context": {"place": "zoo"}})
    assert classify.is_valid({"signature_name": "serving_default", "examples": examples})
    wrong: list[object] = [
        {},
        {"examples": []},
        {"examples": [1]},
        {"examples": [{"a": None}]},
        {"instances": examples},
    ]
    assert not any(classify.is_valid(body) for body in wrong)
    assert not classify.is_valid({"signature_name": "regression", "examples": examples})
    assert regress.is_valid({"signature_name": "second", "examples": examples})
    assert not regress.is_valid({"examples": examples})  # the default signature does not regress
    for name in ("one input", "unknown", "none", "classifier"):
        paths = for_model(record(SIGNATURES[name]))["paths"]
        assert not {"/v1/models/cats:classify", "/v1/models/cats:regress"} & paths.keys()


def test_answers_of_tensorflow_serving_fit_their_schemas() -> None:
    """Their shapes as its documentation gives them."""
    document = for_model(record(SIGNATURES["estimator"]))
    classified = schema_of(document, "/v1/models/cats:classify", "post", "200")
    assert classified.is_valid({"results": [[["lynx", 0.9], ["cat", 0.1]], [["", 1.0]]]})
    assert not classified.is_valid({"results": [["lynx", 0.9]]})
    regressed = schema_of(document, "/v1/models/cats:regress", "post", "200")
    assert regressed.is_valid({"results": [1.5, -2]})
    assert not regressed.is_valid({"results": [[1.5]]})
    status = schema_of(document, "/v1/models/cats", "get", "200")
    known = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert status.is_valid({"model_version_status": [known]})
    assert not status.is_valid({"model_version_status": [{**known, "version": 1}]})
    assert not status.is_valid({"model_version_status": [{**known, "state": "ASLEEP"}]})
    metadata = schema_of(document, "/v1/models/cats/metadata", "get", "200")
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    tensor = {"dtype": "DT_STRING", "tensor_shape": shape, "name": "in:0"}
    signatures = {
        "serving_default": {"inputs": {"inputs": tensor}, "outputs": {}, "method_name": "tensorflow/serving/classify"}
    }
    answer = {"model_spec": {"name": "cats", "signature_name": "", "version": "1"},
              "metadata": {"signature_def": {"signature_def": signatures}}}  # fmt: skip
    assert metadata.is_valid(answer)
    assert not metadata.is_valid({"metadata": {}})


def test_a_signature_of_another_name_must_be_named() -> None:
    assert takes(SIGNATURES["other name"], {"signature_name": "embed", "inputs": [[1, 2]]})
    assert not takes(SIGNATURES["other name"], {"inputs": [[1, 2]]})


@pytest.mark.parametrize("signatures", SIGNATURES.values(), ids=SIGNATURES)
def test_examples_fit_the_schema_and_are_python(signatures: Mapping[str, Any]) -> None:
    body = predict_body(signatures)
    assert body is None or takes(signatures, body)
    found = examples("cats", signatures)
    compile(found["python"], "example", "exec")
    path = "classify/cats" if "classify_image" in signatures else "v1/models/cats:predict"
    assert path in found["curl"] and path in found["python"]


def test_a_small_example_is_written_out_and_a_large_one_read_from_a_file() -> None:
    assert predict_body(SIGNATURES["several"]) == {"inputs": {"a": [[0.5, 0.5]], "b": [1]}}
    assert predict_body(SIGNATURES["classifier"]) is None
    assert "request.json" in examples("cats", {"serving_default": SIGNATURES["classifier"]["serving_default"]})["curl"]


dtypes = st.sampled_from(["float32", "bfloat16", "int8", "uint16", "int64", "uint64", "bool", "string", "complex64"])
shapes = st.none() | st.lists(st.none() | st.integers(0, 3), max_size=4)
tensors = st.dictionaries(
    st.text(min_size=1, max_size=8), st.fixed_dictionaries({"dtype": dtypes, "shape": shapes}), max_size=3
)


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8) | st.just("serving_default"),
        st.builds(signature, tensors, tensors, st.sampled_from(["predict", "classify", "regress"])),
    )
)
def test_any_signature_makes_a_valid_document_and_an_example_that_fits(signatures: Mapping[str, Any]) -> None:
    validated(for_model(record(signatures)))
    body = predict_body(signatures)
    assert body is None or takes(signatures, body)


def test_a_models_view_says_how_to_ask_it() -> None:
    shown = endpoint(record(SIGNATURES["classifier"]))
    assert shown["endpoint"] == {
        "classify": "/api/classify/cats", "predict": "/api/v1/models/cats:predict",
        "openapi": "/api/models/cats/openapi.json",
    }  # fmt: skip
    assert set(shown["schema"]) == {"serving_default", "classify_image"}
    assert "classify/cats" in shown["examples"]["python"]
    assert endpoint(record(SIGNATURES["several"]))["endpoint"]["classify"] is None
    assert endpoint(ModelRecord(name="cats", updated=NOON))["examples"] == {}
