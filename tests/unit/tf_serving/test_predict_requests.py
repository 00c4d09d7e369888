"""Tensors from predict requests: the cases of TensorFlow Serving's json_tensor_test.cc, in both layouts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from localcloud.tf_serving.errors import Code, ServingError
from localcloud.tf_serving.predict_json import read, signature_name
from localcloud.tf_serving.tensors import TensorSpec


def specs(**dtypes: str) -> dict[str, TensorSpec]:
    return {alias: TensorSpec(f"{alias}:0", dtype) for alias, dtype in sorted(dtypes.items())}


def message_of(document: dict[str, object], **dtypes: str) -> str:
    with pytest.raises(ServingError) as caught:
        read(document, specs(**dtypes))
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


@given(st_numpy.arrays(np.float32, st_numpy.array_shapes(max_side=4), elements=st.floats(width=32, allow_nan=False)))
def test_nested_lists_become_the_array_they_came_from(array: np.ndarray) -> None:
    layout, tensors = read({"inputs": array.tolist()}, specs(x="DT_FLOAT"))
    assert layout == "column"
    np.testing.assert_array_equal(tensors["x"], array)
    assert tensors["x"].dtype == np.float32
    layout, tensors = read({"instances": array.tolist()}, specs(x="DT_FLOAT"))
    assert layout == "row"
    np.testing.assert_array_equal(tensors["x"], array)


def test_rows_of_objects_are_stacked_by_name() -> None:
    _, tensors = read(
        {"instances": [{"f": [1.5, float("inf")], "i": 1, "s": "x"}, {"s": "y", "f": [2, 3], "i": -2}]},
        specs(f="DT_FLOAT", i="DT_INT64", s="DT_STRING"),
    )
    np.testing.assert_array_equal(tensors["f"], np.array([[1.5, np.inf], [2, 3]], dtype=np.float32))
    np.testing.assert_array_equal(tensors["i"], np.array([1, -2]))
    assert tensors["s"].tolist() == [b"x", b"y"]


@pytest.mark.parametrize(
    ("instances", "expected"),
    [
        ([{"b64": "aGVsbG8="}, {"b64": "d29ybGQ"}], [b"hello", b"world"]),  # padding may be missing
        ([[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]], [[b"hello"], [b"world"]]),
        ([{"x": {"b64": "aGVsbG8="}}], [b"hello"]),
        (["plain", {"b64": "d29ybGQ="}], [b"plain", b"world"]),
    ],
)
def test_b64_objects_are_bytes(instances: list[object], expected: list[object]) -> None:
    _, tensors = read({"instances": instances}, specs(x="DT_STRING"))
    assert tensors["x"].tolist() == expected


def test_a_single_input_may_be_bare_or_named_and_extra_columns_are_ignored() -> None:
    for inputs in ([[1, 2]], {"x": [[1, 2]]}, {"x": [[1, 2]], "other": "ignored"}):
        _, tensors = read({"inputs": inputs}, specs(x="DT_INT32"))
        np.testing.assert_array_equal(tensors["x"], np.array([[1, 2]], dtype=np.int32))


def test_a_bare_value_is_a_scalar() -> None:
    _, tensors = read({"inputs": {"b64": "aGVsbG8="}}, specs(x="DT_STRING"))
    assert tensors["x"].shape == ()
    assert tensors["x"][()] == b"hello"


def test_small_integers_take_what_their_protobuf_field_takes() -> None:
    _, tensors = read({"inputs": [255, 256]}, specs(x="DT_UINT8"))
    assert tensors["x"].tolist() == [255, 0]


@pytest.mark.parametrize(
    ("instances", "dtype", "message"),
    [
        ([1.0], "DT_INT32", "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        ([2**31], "DT_INT32", "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        ([True], "DT_FLOAT", "JSON Value: true Type: True is not of expected type: float"),
        ([1, True], "DT_INT64", "JSON Value: true Type: True is not of expected type: int64"),
        ([None], "DT_FLOAT", "JSON Value: null Type: Null is not of expected type: float"),
        (["1"], "DT_FLOAT", 'JSON Value: "1" Type: String is not of expected type: float'),
        ([1], "DT_STRING", "JSON Value: 1 Type: Number is not of expected type: string"),
        ([-1], "DT_UINT64", "JSON Value: -1 Type: Number is not of expected type: uint64"),
        ([2**24], "DT_FLOAT", "Cannot convert JSON value: 16777216 to float without loss of precision."),
        ([1e39], "DT_FLOAT", "Cannot convert JSON value: 1e+39 to float without loss of precision."),
        ([{"b64": "x?"}], "DT_STRING", "Unable to base64 decode"),
        ([[1, 2], [3, 4], [5, 6, 7]], "DT_INT32", "Expecting tensor size: 2 but got: 3"),
        ([[1, 2], [3, 4], [[5, 6]]], "DT_INT32", "Expecting shape [2] but got: [1,2]"),
        ([1, [1]], "DT_INT32", "Expecting shape [] but got: [1]"),
        ([[1, [2]]], "DT_INT32", "Encountered list at unexpected level: 1 expected < 1"),
        ([[[1], 2]], "DT_INT32", "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([[[1, 2], [3]]], "DT_INT32", "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    ],
)
def test_the_first_wrong_row_is_named_with_its_reason(instances: list[object], dtype: str, message: str) -> None:
    found = message_of({"instances": instances}, x=dtype)
    prefix, _, reason = found.partition(" of 'instances' list. Error: INVALID_ARGUMENT: ")
    assert reason == message
    assert prefix.startswith("Failed to process element: ")


def test_half_precision_has_no_json_form() -> None:
    for dtype, name in (("DT_HALF", "half"), ("DT_BFLOAT16", "bfloat16")):
        with pytest.raises(ServingError) as caught:
            read({"inputs": [1.5]}, specs(x=dtype))
        assert caught.value.code.http_status == 501
        assert caught.value.message == f"Conversion of JSON Value: 1.5 to type: {name}"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, "expecting only one of 'inputs' or 'instances' keys to exist "),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": 1}, "Excepting 'instances' to be an list/array"),
        ({"instances": [1, {"x": 1}]}, "Expecting value/list but got object at item 1 of input list"),
        ({"instances": [{"x": 1}, 1]}, "Expecting object but got list at item 1 of input list"),
        ({"instances": [{"x": 1, "z": 2}]}, "JSON object: does not have named input: z"),
        ({"inputs": {"b64": "eA==", "z": 1}}, "Missing named input: x in 'inputs' object."),
    ],
)
def test_a_body_of_the_wrong_form_is_refused(document: dict[str, object], message: str) -> None:
    assert message_of(document, x="DT_FLOAT").endswith(message)


def test_rows_must_name_every_input() -> None:
    found = message_of({"instances": [{"x": 1, "y": 2}, {"x": 1}]}, x="DT_FLOAT", y="DT_FLOAT")
    assert found.startswith("Failed to process element: 1 of 'instances' list. JSON object: ")
    assert found.endswith("keys must be equal to: x,y")


def test_several_inputs_cannot_be_given_bare() -> None:
    documents: list[dict[str, object]] = [{"instances": [1]}, {"inputs": [1]}]
    for document in documents:
        assert "multiple input tensors required as per tensorinfo_map" in message_of(
            document, x="DT_FLOAT", y="DT_FLOAT"
        )


def test_the_signature_name_is_a_string_or_the_default() -> None:
    assert signature_name({}) == "serving_default"
    assert signature_name({"signature_name": ""}) == "serving_default"
    assert signature_name({"signature_name": "s"}) == "s"
    with pytest.raises(ServingError, match="'signature_name' key must be a string value"):
        signature_name({"signature_name": 5})
