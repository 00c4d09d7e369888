"""Number formats and layout of answers (WriteDecimal and the writers of json_tensor.cc)."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.tf_serving import render
from localcloud.tf_serving.errors import ServingError, invalid


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2, "0.2"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (9000000.0, "9e+06"),
        (0.00003, "3e-05"),
        (16777215.0, "16777215.0"),
        (1 / 3, "0.333333343"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_a_float_has_six_digits_where_they_suffice_and_nine_where_not(value: float, text: str) -> None:
    assert render.decimals(np.array([value], dtype=np.float32)) == [text]


def test_a_double_has_up_to_seventeen_digits() -> None:
    assert render.decimals(np.array([1 / 3, 0.5])) == ["0.33333333333333331", "0.5"]


@given(st.lists(st.floats(width=32), min_size=1))
def test_every_float_reads_back_as_itself(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    np.testing.assert_array_equal(np.array([float(text) for text in render.decimals(array)], dtype=np.float32), array)


def test_rows_of_one_output_are_not_named_and_stand_on_one_line() -> None:
    text = render.predictions("row", {"y": np.array([[1, 2], [3, 4]], dtype=np.float32)})
    assert text.decode() == '{\n    "predictions": [[1.0, 2.0], [3.0, 4.0]\n    ]\n}'


def test_rows_of_several_outputs_are_objects() -> None:
    text = render.predictions("row", {"a": np.array([1, 2]), "b": np.array([[True], [False]])})
    assert json.loads(text) == {"predictions": [{"a": 1, "b": [True]}, {"a": 2, "b": [False]}]}
    assert text.startswith(
        b'{\n    "predictions": [\n        {\n            "a": 1,\n            "b": [true]\n        },'
    )


def test_columns_are_indented_and_named_when_there_are_several() -> None:
    single = render.predictions("column", {"y": np.array([2.5, 3], dtype=np.float32)})
    assert single.decode() == '{\n    "outputs": [\n        2.5,\n        3.0\n    ]\n}'
    several = render.predictions("column", {"a": np.array(1), "b": np.zeros((2, 0)), "c": np.ones((1, 1))})
    assert json.loads(several) == {"outputs": {"a": 1, "b": [[], []], "c": [[1.0]]}}


def test_only_strings_named_bytes_come_back_as_b64() -> None:
    value = np.array(['x"ü'.encode()], dtype=object)
    assert json.loads(render.predictions("row", {"y": value})) == {"predictions": ['x"ü']}
    assert json.loads(render.predictions("row", {"y_bytes": value})) == {"predictions": [{"b64": "eCLDvA=="}]}
    assert json.loads(render.predictions("column", {"y_bytes": value})) == {"outputs": [{"b64": "eCLDvA=="}]}


def test_bytes_that_are_no_utf8_are_written_as_they_are() -> None:
    assert b'"\xff"' in render.predictions("row", {"y": np.array([b"\xff"], dtype=object)})


@pytest.mark.parametrize(
    ("layout", "outputs", "message"),
    [
        ("row", {"y": np.array(1.0)}, "Tensor name: y has no shape information "),
        ("row", {"a": np.zeros(2), "b": np.zeros(3)}, "Tensor name: b has inconsistent batch size: 3 expecting: 2"),
        ("column", {"y": np.zeros(1, np.float16)}, "Failed to write JSON value for tensor type: half"),
        ("row", {}, "Cannot convert empty tensor map to JSON"),
    ],
)
def test_outputs_without_a_form_are_refused(layout: str, outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ServingError) as caught:
        render.predictions("row" if layout == "row" else "column", outputs)
    assert caught.value.message == message
    assert caught.value.code.http_status == 400


def test_classes_pair_labels_with_scores_and_fill_what_is_absent() -> None:
    labels = np.array([[b"cat", b"dog"]], dtype=object)
    scores = np.array([[0.75, 0.25]], dtype=np.float32)
    assert render.classes(labels, scores) == ['[["cat", 0.75], ["dog", 0.25]]']
    assert render.classes(None, scores) == ['[["", 0.75], ["", 0.25]]']
    assert render.classes(labels, None) == ['[["cat", 0.0], ["dog", 0.0]]']


def test_an_error_is_one_json_object() -> None:
    assert json.loads(render.error(invalid('a "quoted"\nline'))) == {"error": 'a "quoted"\nline'}
