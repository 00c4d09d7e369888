"""Tensors as JSON: the schema of what TensorFlow Serving takes and gives, and an example of it. Pure.

A signature stands in a record as the exporter wrote it: ``{"method", "inputs", "outputs"}`` with, for each tensor,
``{"dtype": TensorFlow's name, "shape": [dimension or null, …] or null}``. A record that says less is described less exactly.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]
Tensors = Mapping[str, Mapping[str, Any]]

_BITS = {"int8": 8, "int16": 16, "int32": 32, "uint8": 8, "uint16": 16, "uint32": 32}
_WIDE = ("int64", "uint64")
_FLOATS = ("float16", "float32", "float64", "bfloat16", "half", "float", "double")
_EXAMPLE_LENGTH = 1  # of a dimension that may have any
_EXAMPLE_CELLS = 64  # an example with more values than these stands for itself by a shorter one
B64 = {
    "type": "object", "properties": {"b64": {"type": "string", "contentEncoding": "base64"}}, "required": ["b64"],
    "additionalProperties": False,
}  # fmt: skip


def tensor(spec: Mapping[str, Any]) -> Schema:
    """A whole tensor as nested lists."""
    dtype, shape = _dtype(spec), spec.get("shape")
    if shape is None:
        return {"description": f"{dtype} of any rank: a value, or lists of values nested as deep as the rank"}
    return _nested(_value(dtype), shape) | {"description": f"{dtype} {_shape(shape)}"}


def batched(spec: Mapping[str, Any]) -> bool:
    """Whether the first dimension is that of the batch: of unknown length, so that a list of instances can fill it."""
    shape = spec.get("shape")
    return shape is None or (len(shape) > 0 and shape[0] is None)


def instance(spec: Mapping[str, Any]) -> Schema:
    """One entry of the batch."""
    shape = spec.get("shape")
    return tensor({**spec, "shape": None if shape is None else shape[1:]})


def columns(tensors: Tensors, *, open_names: bool) -> Schema:
    """Column format: a tensor by each name, or the only one by itself. ``open_names``: some may be left out."""
    return _named({name: tensor(spec) for name, spec in tensors.items()}, open_names=open_names)


def rows(tensors: Tensors, *, open_names: bool) -> Schema:
    """Row format: a list with one entry for each instance."""
    entry = _named({name: instance(spec) for name, spec in tensors.items()}, open_names=open_names)
    return {"type": "array", "items": entry, "minItems": 1}


def example(spec: Mapping[str, Any], *, row: bool = False) -> Any:
    """A tensor (``row``: one entry of its batch) that the signature takes; None where that would fill pages."""
    shape = spec.get("shape") or []
    lengths = [_EXAMPLE_LENGTH if length is None else length for length in (shape[1:] if row else shape)]
    cells = 1
    for length in lengths:
        cells *= length
    return _filled(_one(_dtype(spec)), lengths) if cells <= _EXAMPLE_CELLS else None


def _named(schemas: Mapping[str, Schema], *, open_names: bool) -> Schema:
    if not schemas:
        return {}
    by_name: Schema = {"type": "object", "properties": dict(schemas)}
    if not open_names:
        by_name |= {"required": list(schemas), "additionalProperties": False}
    if len(schemas) > 1:
        return by_name
    return {"anyOf": [next(iter(schemas.values())), by_name]}


def _nested(value: Schema, shape: Sequence[int | None]) -> Schema:
    for length in reversed(shape):
        bounds = {} if length is None else {"minItems": length, "maxItems": length}
        value = {"type": "array", "items": value, **bounds}
    return value


def _value(dtype: str) -> Schema:
    if dtype in _FLOATS:
        return {"type": "number"}
    if dtype in _BITS:
        signed, bits = not dtype.startswith("u"), _BITS[dtype]
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return {"type": "integer", "minimum": least, "maximum": most}
    if dtype in _WIDE:  # beyond what a JSON number holds exactly in many languages: no bounds are given
        return {"type": "integer"} | ({"minimum": 0} if dtype == "uint64" else {})
    match dtype:
        case "bool":
            return {"type": "boolean"}
        case "string":
            return {"anyOf": [{"type": "string"}, B64]}
    return {}


def _one(dtype: str) -> Any:
    if dtype in _FLOATS:
        return 0.5
    match dtype:
        case "bool":
            return True
        case "string":
            return "text"
    return 1


def _filled(value: Any, lengths: Sequence[int]) -> Any:
    for length in reversed(lengths):
        value = [value] * length
    return value


def _dtype(spec: Mapping[str, Any]) -> str:
    return str(spec.get("dtype", "unknown"))


def _shape(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if length is None else str(length) for length in shape)}]"
