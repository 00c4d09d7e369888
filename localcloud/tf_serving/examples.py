"""The body of a classify or regress request as serialized ``tf.Example`` messages. Pure."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from localcloud.tf_serving import messages
from localcloud.tf_serving.errors import ServingError, invalid
from localcloud.tf_serving.json_text import Json, pretty, type_name
from localcloud.tf_serving.tensors import Array, decode_b64, is_b64

_FLOAT_MAX = float(np.finfo(np.float32).max)
_INT64 = range(-(2**63), 2**63)
_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def read(document: Mapping[str, Json]) -> Array:
    """One serialized example for each of ``examples``, the features of ``context`` before its own; shape [N], bytes.

    Raises:
        ServingError: INVALID_ARGUMENT, in TensorFlow Serving's words.
    """
    context = _example(document["context"]) if "context" in document else b""
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {pretty(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {pretty(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {pretty(document)} 'examples' value is an empty array")
    serialized = np.empty(len(examples), dtype=np.object_)
    serialized[:] = [context + _example(example) for example in examples]  # concatenated messages merge
    return serialized


def _example(value: Json) -> bytes:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    example = messages.new("Example")
    for name, content in value.items():
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)
    serialized: bytes = example.SerializeToString()
    return serialized


def _add(feature: Any, name: str, value: Json) -> None:
    match value:
        case bool():
            _values(feature, name, "int64_list").append(int(value))
        case int() if value in _INT64:
            _values(feature, name, "int64_list").append(value)
        case int():
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        case float():
            values = _values(feature, name, "float_list")
            if np.isfinite(value) and abs(value) > _FLOAT_MAX:
                raise invalid(f"Cannot convert JSON value: {pretty(value)} to float without loss of precision.")
            values.append(value)
        case str():
            _values(feature, name, "bytes_list").append(value.encode("utf-8", "surrogateescape"))
        case _ if is_b64(value):
            _values(feature, name, "bytes_list").append(decode_b64(value))
        case _:
            raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _values(feature: Any, name: str, kind: str) -> Any:
    """The list of this kind; a feature holds one kind only."""
    present = {field.name for field, _ in feature.ListFields()}
    if present - {kind}:
        raise _mixed(name, present.pop())
    return _list_of(feature, kind).value


def _list_of(feature: Any, kind: str) -> Any:
    match kind:
        case "bytes_list":
            return feature.bytes_list
        case "float_list":
            return feature.float_list
        case _:
            return feature.int64_list


def _mixed(name: str, kind: str) -> ServingError:
    return invalid(f"Unexpected element type in feature: {name} expecting type: {_KINDS[kind]}")
