"""Requests and answers in the column format of TensorFlow Serving's REST API, for the rollout to prove itself with."""

import base64
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import JsonValue

from exporter.convert.parity import GOLDEN
from exporter.convert.served import Arrays
from exporter.manifest import Golden

MOST_BYTES = 1_400_000
"""Of JSON: an image of 299 by 299 in numbers of one digit, which takes some ten ms to parse."""
FEW = 8_000
"""Numbers in a request up to which it is kept as a golden one beside one with an image."""
_UNKNOWN_TO_REST = frozenset({"float16", "bfloat16"})


def golden(signature: str, inputs: Arrays, outputs: Arrays) -> list[Golden]:
    """The exchange as JSON, or none where REST has no form for it or it would be far over a megabyte."""
    arrays = [*inputs.values(), *outputs.values()]
    if any(_unfit(array) for array in arrays):
        return []
    if sum(array.size for array in arrays) > MOST_BYTES // 2:  # a number and its comma are two characters at least
        return []
    made = Golden(
        signature=signature,
        inputs={name: _json(array, as_bytes=True) for name, array in inputs.items()},
        outputs={name: _json(array, as_bytes=name.endswith("_bytes")) for name, array in outputs.items()},
        rtol=GOLDEN.rtol,
        atol=GOLDEN.atol,
    )
    return [made] if len(made.model_dump_json()) <= MOST_BYTES else []


def _unfit(array: np.ndarray[Any, Any]) -> bool:
    dtype = tf.as_dtype(array.dtype)
    if dtype.name in _UNKNOWN_TO_REST or dtype.is_complex:
        return True
    return dtype.is_floating and not np.isfinite(array).all()


def _json(array: np.ndarray[Any, Any], *, as_bytes: bool) -> JsonValue:
    if array.dtype == np.float32:  # its shortest decimal form, which is the same float32 when read again
        return _nested(array.astype("U").astype(np.float64).tolist())
    if array.dtype.kind in "OSU":
        return _nested([_string(value, as_bytes) for value in array.ravel().tolist()], array.shape)
    return _nested(array.tolist())


def _nested(value: Any, shape: tuple[int, ...] | None = None) -> JsonValue:
    if shape is None or len(shape) == 1:
        nested: JsonValue = value
        return nested
    if not shape:
        return _nested(value[0])
    step = len(value) // shape[0] if shape[0] else 0
    return [_nested(value[start * step : (start + 1) * step], shape[1:]) for start in range(shape[0])]


def _string(value: bytes | str, as_bytes: bool) -> JsonValue:
    # TensorFlow Serving answers strings as text unless the output's name ends in _bytes.
    content = value.encode() if isinstance(value, str) else value
    return {"b64": base64.b64encode(content).decode("ascii")} if as_bytes else content.decode("utf-8", errors="replace")
