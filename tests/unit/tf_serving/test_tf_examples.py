"""Classify and regress requests as tf.Example: checked against protobuf's wire format, by hand."""

import pytest

from localcloud.tf_serving import messages
from localcloud.tf_serving.errors import ServingError
from localcloud.tf_serving.examples import read


def features(serialized: bytes) -> dict[str, list[object]]:
    example = messages.new("Example")
    example.ParseFromString(serialized)
    return {
        name: [value for _, values in feature.ListFields() for value in values.value]
        for name, feature in example.features.feature.items()
    }


def test_an_example_is_written_in_the_wire_format_of_tf_example() -> None:
    (serialized,) = read({"examples": [{"x": 2.0}]})
    # Example.features{1} → Features.feature{1} → key{1} "x", value{2} → float_list{2} → packed value{1} 2.0f
    assert serialized == bytes.fromhex("0a0f 0a0d 0a0178 1208 1206 0a04 00000040".replace(" ", ""))


def test_kinds_follow_the_json_types() -> None:
    (serialized,) = read({"examples": [{"f": [1.5, 2.5], "i": [1, True], "s": ["a", {"b64": "YmI="}]}]})
    assert features(serialized) == {"f": [1.5, 2.5], "i": [1, 1], "s": [b"a", b"bb"]}


def test_context_features_join_those_of_each_example() -> None:
    first, second = read({"context": {"c": 1}, "examples": [{"x": 1.0}, {"x": 2.0}]})
    assert features(first) == {"c": [1], "x": [1.0]}
    assert features(second) == {"c": [1], "x": [2.0]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "When method is classify, key 'examples' is expected and was not found"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        ({"examples": [{"x": {"y": 1}}]}, "Feature: x has element with unexpected JSON type: Object"),
        ({"examples": [{"x": [1, 2.5]}]}, "Unexpected element type in feature: x expecting type: int64"),
        ({"examples": [{"x": ["a", 1]}]}, "Unexpected element type in feature: x expecting type: bytes"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element. Only int64 is supported."),
        ({"examples": [{"x": 1e39}]}, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    ],
)
def test_what_is_no_example_is_refused(document: dict[str, object], message: str) -> None:
    with pytest.raises(ServingError) as caught:
        read(document)
    assert caught.value.message.endswith(message)
    assert caught.value.code.http_status == 400
