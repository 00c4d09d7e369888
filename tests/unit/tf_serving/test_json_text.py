"""JSON as RapidJSON reads it, with its messages and byte offsets (rapidjson/error/en.h)."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.tf_serving.errors import ServingError
from localcloud.tf_serving.json_text import parse, type_name

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _json, max_size=4))
def test_every_object_that_python_writes_is_read_back(value: dict[str, object]) -> None:
    assert parse(json.dumps(value).encode()) == value


@given(st.dictionaries(st.text(), _json, max_size=4))
def test_the_lenient_reading_agrees_with_the_quick_one(value: dict[str, object]) -> None:
    assert parse(json.dumps(value).encode() + b" trailing") == value


def test_nan_and_infinity_are_numbers() -> None:
    values = parse(b'{"instances": [NaN, Infinity, -Infinity, 1]}')["instances"]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 1]


def test_text_after_the_document_is_ignored() -> None:
    assert parse(b'{"instances": [1]} and more') == {"instances": [1]}


def test_an_integer_beyond_64_bits_is_read_as_a_float() -> None:
    assert parse(b'{"x": 123456789012345678901234567890, "y": NaN}')["x"] == 123456789012345678901234567890.0


def test_bytes_that_are_no_utf8_stay_the_same_bytes() -> None:
    assert parse(b'{"x": "\xff"}')["x"].encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b" \n ", "JSON Parse error: The document is empty. at offset: 3"),
        (b'{"a": foo}', "JSON Parse error: Invalid value. at offset: 7"),  # it reads "f", then expects "a"
        (b'{"a": ?}', "JSON Parse error: Invalid value. at offset: 6"),
        (b'{"a": [1, }', "JSON Parse error: Invalid value. at offset: 10"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at offset: 5"),
        (b"{a: 1}", "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b'{"a": 1, }', "JSON Parse error: Missing a name for object member. at offset: 9"),
        (b'{"a": 1 "b": 2}', "JSON Parse error: Missing a comma or } after an object member. at offset: 8"),
        (b'{"a": [1 2]}', "JSON Parse error: Missing a comma or ] after an array element. at offset: 9"),
        (b'{"a": [1, 2', "JSON Parse error: Missing a comma or ] after an array element. at offset: 11"),
        (b'{"a": "b', "JSON Parse error: Missing a closing quotation mark in string. at offset: 8"),
        ('{"ä": foo}'.encode(), "JSON Parse error: Invalid value. at offset: 8"),  # offsets are in bytes
        (b"[" * 100_000, "JSON Parse error: The document is nested too deeply."),
    ],
)
def test_what_cannot_be_read_is_named_with_its_byte_offset(body: bytes, message: str) -> None:
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.message == message
    assert caught.value.code.http_status == 400


@pytest.mark.parametrize("body", [b"[1]", b"1.0", b'"x"', b"null"])
def test_a_document_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ServingError, match=r"(?s)JSON Value: .* Is not object$") as caught:
        parse(body)
    assert caught.value.code.http_status == 400


def test_types_have_rapidjson_names() -> None:
    values: list[object] = [None, True, False, {}, [], "", 1, 1.5]
    assert [type_name(value) for value in values] == [
        "Null", "True", "False", "Object", "Array", "String", "Number", "Number",
    ]  # fmt: skip
