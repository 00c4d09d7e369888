"""What a client would notice of a new version, and whether it would break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import Manifest, schema_diff
from exporter.manifest import Signature, TensorSpec

PREDICT = "tensorflow/serving/predict"
Tensors = dict[str, tuple[str, list[int | None] | None]]


def manifest(
    inputs: Tensors | None = None,
    outputs: Tensors | None = None,
    *,
    name: str = "serving_default",
    method: str = PREDICT,
    labels: list[str] | None = None,
) -> Manifest:
    signature = {
        "method": method,
        "inputs": specs(inputs or {"x": ("float32", [None, 8])}),
        "outputs": specs(outputs or {"y": ("float32", [None, 3])}),
    }
    return Manifest.model_validate(
        {
            "source": {"name": "d.keras", "format": "keras", "sha256": "ab", "bytes": 3, "keras_version": None},
            "exporter": {"slipway": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1"},
            "signatures": {name: signature},
            "image": None, "labels": labels, "top": 5, "golden": [], "files": {}, "bytes": 0, "timings": {},
            "parity": {"max_abs_error": 0.0, "max_rel_error": 0.0, "batch_sizes": [1], "rtol": 0.001, "atol": 1e-05},
        }
    )  # fmt: skip


def specs(tensors: Tensors) -> dict[str, object]:
    return {name: {"dtype": dtype, "shape": shape} for name, (dtype, shape) in tensors.items()}


X: Tensors = {"x": ("float32", [None, 8])}
Y: Tensors = {"y": ("float32", [None, 3])}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ((X, Y), ({"x": ("float32", [None, None])}, Y), "took float32[N, 8], takes float32[N, N]"),
        ((X, Y), ({"x": ("float32", None)}, Y), "took float32[N, 8], takes float32 of any shape"),
        ((X, {"y": ("float32", [None, None])}), (X, Y), "gave float32[N, N], gives float32[N, 3]"),
        ((X, {**Y, "z": ("float32", [None])}), (X, {**Y, "z": ("float32", [None]), "w": ("int64", [None])}), "as well"),
    ],
)
def test_what_takes_more_and_tells_more_precisely_breaks_nobody(
    old: tuple[Tensors, Tensors], new: tuple[Tensors, Tensors], line: str
) -> None:
    found = schema_diff(manifest(*old), manifest(*new))
    assert not found.breaking
    assert [line in text and text.startswith("  ") for text in found.lines] == [True]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ((X, Y), ({"x": ("float32", [None, 9])}, Y), "serving_default.inputs.x: took float32[N, 8], takes float32[N, 9]"),
        ((X, Y), ({"x": ("float32", [1, 8])}, Y), "serving_default.inputs.x: took float32[N, 8], takes float32[1, 8]"),
        ((X, Y), ({"x": ("int64", [None, 8])}, Y), "serving_default.inputs.x: took float32[N, 8], takes int64[N, 8]"),
        ((X, Y), ({**X, "mask": ("bool", [None])}, Y), "serving_default.inputs.mask: bool[N] has to be given now"),
        (({**X, "mask": ("bool", [None])}, Y), (X, Y), "serving_default.inputs.mask: bool[N] is no longer taken"),
        ((X, Y), (X, {"y": ("float32", [None, 4])}), "serving_default.outputs.y: gave float32[N, 3], gives float32[N, 4]"),
        ((X, Y), (X, {"y": ("float32", None)}), "serving_default.outputs.y: gave float32[N, 3], gives float32 of any shape"),
        (
            (X, Y), (X, {**Y, "z": ("float32", [None])}),
            "serving_default.outputs.z: float32[N] is given as well, so answers in rows become named values",
        ),
    ],
)  # fmt: skip
def test_what_a_client_could_trip_over_breaks_and_is_named_with_its_place(
    old: tuple[Tensors, Tensors], new: tuple[Tensors, Tensors], line: str
) -> None:
    found = schema_diff(manifest(*old), manifest(*new))
    assert found.breaking
    assert found.lines == [f"! {line}"]


def test_a_signature_that_goes_breaks_and_one_that_comes_does_not() -> None:
    found = schema_diff(manifest(), manifest(name="classify_image"))
    assert found.lines == ["! serving_default: the signature is gone", "  classify_image: a new signature"]


def test_another_method_breaks() -> None:
    found = schema_diff(manifest(), manifest(method="tensorflow/serving/regress"))
    assert found.lines == [
        "! serving_default: its method was tensorflow/serving/predict, and is tensorflow/serving/regress"
    ]


def test_labels_that_go_or_change_places_break_and_new_ones_do_not() -> None:
    found = schema_diff(manifest(labels=["cat", "dog", "fox"]), manifest(labels=["dog", "cat", "owl"]))
    assert found.lines == [
        "! labels: no longer given: 'fox'",
        "! labels: their order, and so that of the raw scores, is another",
        "  labels: new: 'owl'",
    ]
    assert not schema_diff(manifest(labels=["cat"]), manifest(labels=["cat", "owl"])).breaking


def test_many_labels_are_not_all_listed() -> None:
    (change, _) = schema_diff(manifest(labels=[f"l{n}" for n in range(9)]), manifest(labels=["new"])).changes
    assert change.what == "no longer given: 'l0', 'l1', 'l2', 'l3', 'l4' and 4 more"


SHAPES = st.none() | st.lists(st.none() | st.integers(0, 3), max_size=3)
TENSORS = st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from(["float32", "int64"]), SHAPES), max_size=3)


@given(TENSORS, TENSORS)
def test_only_equal_schemas_have_no_difference(one: Tensors, other: Tensors) -> None:
    first = Signature(method=PREDICT, inputs={k: TensorSpec(dtype=d, shape=s) for k, (d, s) in one.items()}, outputs={})
    second = Signature(
        method=PREDICT, inputs={k: TensorSpec(dtype=d, shape=s) for k, (d, s) in other.items()}, outputs={}
    )
    left = manifest().model_copy(update={"signatures": {"s": first}})
    right = manifest().model_copy(update={"signatures": {"s": second}})
    assert (schema_diff(left, right).changes == ()) == (one == other)
    assert schema_diff(left, left).lines == []


@given(TENSORS, TENSORS)
def test_a_change_that_breaks_neither_way_does_not_exist(one: Tensors, other: Tensors) -> None:
    def with_inputs(tensors: Tensors) -> Manifest:
        inputs = {name: TensorSpec(dtype=dtype, shape=shape) for name, (dtype, shape) in tensors.items()}
        return manifest().model_copy(update={"signatures": {"s": Signature(method=PREDICT, inputs=inputs, outputs={})}})

    there, back = schema_diff(with_inputs(one), with_inputs(other)), schema_diff(with_inputs(other), with_inputs(one))
    assert (there.breaking or back.breaking) == (one != other)
