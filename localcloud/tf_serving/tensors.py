"""Tensor types, and JSON values as arrays of them. Pure (NumPy only).

A value is first taken as a whole, level by level at C speed; what is not plainly uniform is walked element by element,
as the real server does, to find the first element that is wrong and say so in its words.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.tf_serving.errors import Code, ServingError, invalid
from localcloud.tf_serving.json_text import Json, pretty, type_name

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a signature: its name in the graph, and its type, as ``types.proto`` names it (``DT_FLOAT``)."""

    tensor: str
    dtype: str

    @property
    def type_name(self) -> str:
        """TensorFlow's short name, as in messages: ``float``, ``int64``, ``string``."""
        return self.dtype.removeprefix("DT_").lower()


@dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel; inputs and outputs by their alias, sorted."""

    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


_INTEGERS: Mapping[str, tuple[type[np.generic], range]] = {  # type → (as an array, what its JSON value may be)
    "DT_INT8": (np.int8, range(-(2**31), 2**31)),  # the protobuf field of the small ones holds an int32
    "DT_INT16": (np.int16, range(-(2**31), 2**31)),
    "DT_UINT8": (np.uint8, range(-(2**31), 2**31)),
    "DT_INT32": (np.int32, range(-(2**31), 2**31)),
    "DT_INT64": (np.int64, range(-(2**63), 2**63)),
    "DT_UINT32": (np.uint32, range(2**32)),
    "DT_UINT64": (np.uint64, range(2**64)),
}
_FLOATS: Mapping[str, tuple[type[np.floating[Any]], int]] = {  # type → (as an array, the largest exact integer)
    "DT_FLOAT": (np.float32, 2**24 - 1),
    "DT_DOUBLE": (np.float64, 2**53 - 1),
}


def is_b64(value: Json) -> bool:
    """Whether ``value`` is ``{"b64": "…"}``: that key alone, with a string."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def from_json(value: Json, spec: TensorSpec) -> Array:
    """The tensor that a JSON value describes: nested lists of one size at each level, or a single value.

    Raises:
        ServingError: INVALID_ARGUMENT for a wrong type, level or size; UNIMPLEMENTED for a type without a JSON form.
    """
    uniform = _flatten(value)
    if uniform is not None:
        shape, flat = uniform
        array = _fast(flat, spec.dtype)
        if array is not None:
            return array.reshape(shape)
    return _walk(value, spec)


def _flatten(value: Json) -> tuple[tuple[int, ...], list[Json]] | None:
    """Shape and elements of a value whose lists agree in size at every level; None where they do not."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        sizes = set(map(len, level)) if set(map(type, level)) == {list} else set[int]()
        if len(sizes) != 1:
            return None
        shape.append(sizes.pop())
        level = list(chain.from_iterable(level))
    return tuple(shape), level


def _fast(flat: list[Json], dtype: str) -> Array | None:
    """``flat`` as an array, or None where an element is not plainly of the type."""
    types = set(map(type, flat))
    if dtype in _FLOATS and types <= {int, float}:
        kind, exact = _FLOATS[dtype]
        if int in types and any(abs(number) > exact for number in flat if isinstance(number, int)):
            return None
        wide = np.array(flat, dtype=np.float64)
        if np.any(np.isfinite(wide) & (np.abs(wide) > np.finfo(kind).max)):
            return None
        return wide.astype(kind)
    if dtype in _INTEGERS and types <= {int}:
        integers, allowed = _INTEGERS[dtype]
        if flat and not (min(flat) in allowed and max(flat) in allowed):
            return None
        wide_integers = np.array(flat, dtype=np.uint64 if dtype == "DT_UINT64" else np.int64)
        return wide_integers.astype(integers)
    if dtype == "DT_BOOL" and types <= {bool}:
        return np.array(flat, dtype=np.bool_)
    if dtype == "DT_STRING" and types <= {str}:
        return _strings([text.encode("utf-8", "surrogateescape") for text in flat])
    if dtype == "DT_STRING" and types == {dict} and all(map(is_b64, flat)):
        return _strings([decode_b64(element) for element in flat])
    return None


def _walk(value: Json, spec: TensorSpec) -> Array:
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    elements: list[Array] = []
    _walk_level(value, 0, shape, spec, elements)
    kind = elements[0].dtype if elements else _array_type(spec)
    array = np.empty(len(elements), dtype=kind)
    for index, element in enumerate(elements):
        array[index] = element[()]
    return array.reshape(shape)


def _walk_level(value: Json, level: int, shape: list[int], spec: TensorSpec, elements: list[Array]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {pretty(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        elements.append(_element(value, spec))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _walk_level(element, level + 1, shape, spec, elements)


def _element(value: Json, spec: TensorSpec) -> Array:
    array = _fast([value], spec.dtype)
    if array is not None:
        return array.reshape(())
    if isinstance(value, dict):
        if spec.dtype == "DT_STRING":
            raise invalid(f"JSON Value: {pretty(value)} not formatted correctly for base64 data")
    elif spec.dtype in _FLOATS:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise invalid(f"Cannot convert JSON value: {pretty(value)} to {spec.type_name} without loss of precision.")
    elif spec.dtype not in _INTEGERS and spec.dtype not in ("DT_BOOL", "DT_STRING"):
        raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {pretty(value)} to type: {spec.type_name}")
    raise invalid(f"JSON Value: {pretty(value)} Type: {type_name(value)} is not of expected type: {spec.type_name}")


def _array_type(spec: TensorSpec) -> npt.DTypeLike:
    match spec.dtype:
        case dtype if dtype in _FLOATS:
            return _FLOATS[dtype][0]
        case dtype if dtype in _INTEGERS:
            return _INTEGERS[dtype][0]
        case "DT_BOOL":
            return np.bool_
        case "DT_STRING":
            return np.object_
        case _:
            raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: [] to type: {spec.type_name}")


def _strings(values: list[bytes]) -> Array:
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array


def decode_b64(value: Json) -> bytes:
    """The bytes of ``{"b64": "…"}``; white space and missing padding are allowed.

    Raises:
        ServingError: INVALID_ARGUMENT for text that is not base64.
    """
    text = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error
