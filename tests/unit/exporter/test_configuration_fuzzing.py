"""No configuration, however strange, makes the scan fail but by an error of ours; and no unknown class passes it."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import ExportError, keras_scan
from exporter.keras_scan import KerasModel, Loader

Check = Callable[[], KerasModel]

_WORDS = st.sampled_from(
    [
        *(
            "Dense",
            "Lambda",
            "function",
            "relu",
            "__lambda__",
            "__tensor__",
            "TFOpLambda",
            "StringLookup",
            "Sequential",
        ),
        *(
            "TensorFlowOpLayer",
            "SlicingOpLambda",
            "keras.layers",
            "keras",
            "builtins",
            "os",
            "keras.src.ops.numpy",
            "Add",
        ),
        *("tf_keras.src.engine.functional", "math.add", "", "{", "/etc/passwd", "\ud800"),
    ]
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | _WORDS | st.text(max_size=5)
_KEYS = st.sampled_from(
    [
        "class_name",
        "module",
        "config",
        "registered_name",
        "name",
        "function",
        "vocabulary",
        "node_def",
        "layers",
        "spec_name",
    ]
)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=25
)


@settings(max_examples=400, deadline=None)
@given(root=st.dictionaries(_KEYS, _VALUES, max_size=6), version=st.sampled_from(["2.15.0", "3.15.1", None]))
def test_any_configuration_is_read_or_refused_by_an_error_of_ours(root: dict[str, Any], version: str | None) -> None:
    text = json.dumps(root)
    metadata = json.dumps({"keras_version": version}).encode()
    checks: list[Check] = [
        lambda: keras_scan.check_keras_file(text.encode(), metadata, name="m.keras"),
        lambda: keras_scan.check_hdf5(text, version, name="m.h5"),
    ]
    for check in checks:
        try:
            assert check().loader in (Loader.KERAS_2, Loader.KERAS_3)
        except ExportError as refused:
            assert refused.hint


@settings(max_examples=200, deadline=None)
@given(
    path=st.lists(st.sampled_from(["layers", "config", "layer", "kwargs", "activation"]) | st.just(0), max_size=8),
    version=st.sampled_from(["2.15.0", "3.15.1"]),
)
def test_a_code_carrying_layer_is_found_however_deep_it_lies(path: list[str | int], version: str) -> None:
    hidden: Any = {"module": "keras.layers", "class_name": "Lambda", "config": {}}
    for step in path:
        hidden = [hidden] if isinstance(step, int) else {step: hidden}
    text = json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": hidden}})
    checks: list[Check] = [
        lambda: keras_scan.check_keras_file(text.encode(), None, name="m.keras"),
        lambda: keras_scan.check_hdf5(text, version, name="m.h5"),
    ]
    for check in checks:
        try:
            check()
        except ExportError as refused:
            assert refused.code == "carries_code"
        else:
            raise AssertionError("the Lambda layer passed")
