"""Answers as TensorFlow Serving's JSON writer lays them out, number formats included. Pure (NumPy only)."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from localcloud.tf_serving.errors import ServingError, invalid
from localcloud.tf_serving.predict_json import Layout
from localcloud.tf_serving.tensors import Array

_INDENT = "    "


def error(failure: ServingError) -> bytes:
    """``{"error": message}``."""
    return _encode("{\n" + _INDENT + f'"error": {_string(failure.message)}\n}}')


def predictions(layout: Layout, outputs: Mapping[str, Array]) -> bytes:
    """The answer to predict: rows in ``predictions`` or columns in ``outputs``; a single output is not named.

    Raises:
        ServingError: INVALID_ARGUMENT where outputs do not fit the layout or have no JSON form.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    return _rows(outputs) if layout == "row" else _columns(outputs)


def results(rows: Sequence[str], *, one_line: bool) -> bytes:
    """The answer to classify (each row on the first line, the bracket after it) or regress (all on one line)."""
    end = "]" if one_line else f"\n{_INDENT}]"
    return _encode("{\n" + _INDENT + '"results": [' + ", ".join(rows) + end + "\n}")


def classes(labels: Array | None, scores: Array | None) -> list[str]:
    """One ``[["label", score], …]`` for each example; an absent label is empty, an absent score 0."""
    known = labels if labels is not None else scores
    assert known is not None, "a classify signature has at least one of the two"  # noqa: S101
    count, width = known.shape
    texts = [""] * known.size if labels is None else [_text(label) for label in labels.ravel()]
    numbers = ["0.0"] * known.size if scores is None else decimals(scores.ravel())
    pairs = [f"[{_string(text)}, {number}]" for text, number in zip(texts, numbers, strict=True)]
    return [f"[{', '.join(pairs[row * width : (row + 1) * width])}]" for row in range(count)]


def document(value: object) -> bytes:
    """A protobuf message's JSON tree, one blank a level, as protobuf's printer does."""
    return _encode(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def decimals(numbers: Array) -> list[str]:
    """Floats as text: 6 significant digits where those read back as the same number, else 9 (float) or 17 (double)."""
    precise = "%.9g" if numbers.dtype == np.float32 else "%.17g"
    values = numbers.tolist()
    texts = [f"{value:g}" for value in values]
    same = np.array([float(text) for text in texts], dtype=numbers.dtype) == numbers
    return [
        _decimal(text if equal else precise % value) for text, value, equal in zip(texts, values, same, strict=True)
    ]


def _decimal(text: str) -> str:
    match text:
        case "nan" | "-nan":
            return "NaN"
        case "inf":
            return "Infinity"
        case "-inf":
            return "-Infinity"
        case _:
            return text if "." in text or "e" in text else text + ".0"


def _rows(outputs: Mapping[str, Array]) -> bytes:
    size: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and len(array) != size:
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}")
        size = len(array)
    columns = [
        [_one_line(elements, array.shape[1:]) for elements in _split(name, array)] for name, array in outputs.items()
    ]
    if len(columns) == 1:
        inner = ", ".join(columns[0])
    else:
        deep, deeper = "\n" + _INDENT * 2, "\n" + _INDENT * 3
        keys = [_string(name) for name in outputs]
        inner = ",".join(
            deep + "{" + ",".join(f"{deeper}{key}: {value}" for key, value in zip(keys, row, strict=True)) + deep + "}"
            for row in zip(*columns, strict=True)
        )
    end = f"\n{_INDENT}]" if size else "]"
    return _encode("{\n" + _INDENT + '"predictions": [' + inner + end + "\n}")


def _split(name: str, array: Array) -> Iterator[Sequence[str]]:
    elements = _elements(name, array)
    width = int(np.prod(array.shape[1:]))
    return (elements[row * width : (row + 1) * width] for row in range(len(array)))


def _columns(outputs: Mapping[str, Array]) -> bytes:
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        inner = _indented(_elements(name, array), array.shape, 1)
    else:
        lines = [
            f"\n{_INDENT * 2}{_string(name)}: {_indented(_elements(name, array), array.shape, 2)}"
            for name, array in outputs.items()
        ]
        inner = "{" + ",".join(lines) + f"\n{_INDENT}}}"
    return _encode("{\n" + _INDENT + f'"outputs": {inner}\n}}')


def _one_line(elements: Sequence[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return elements[0]
    width = len(elements) // shape[0] if shape[0] else 0
    parts = (_one_line(elements[at * width : (at + 1) * width], shape[1:]) for at in range(shape[0]))
    return f"[{', '.join(elements if len(shape) == 1 else parts)}]"


def _indented(elements: Sequence[str], shape: tuple[int, ...], level: int) -> str:
    if not shape:
        return elements[0]
    if shape[0] == 0:
        return "[]"
    width = len(elements) // shape[0]
    parts = (_indented(elements[at * width : (at + 1) * width], shape[1:], level + 1) for at in range(shape[0]))
    start = "\n" + _INDENT * (level + 1)
    return "[" + ",".join(start + part for part in parts) + "\n" + _INDENT * level + "]"


def _elements(name: str, array: Array) -> Sequence[str]:
    """Every element of ``array`` as JSON, in order."""
    flat = array.ravel()
    match array.dtype.kind:
        case "f" if array.dtype in (np.float32, np.float64):
            return decimals(flat)
        case "i" | "u":
            return [str(number) for number in flat.tolist()]
        case "b":
            return ["true" if value else "false" for value in flat.tolist()]
        case "O" if name.endswith("_bytes"):
            return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in flat]
        case "O":
            return [_string(_text(value)) for value in flat]
        case _:
            name = {"float16": "half", "complex128": "complex128"}.get(array.dtype.name, array.dtype.name)
            raise invalid(f"Failed to write JSON value for tensor type: {name}")


def _text(value: Any) -> str:
    return bytes(value).decode("utf-8", "surrogateescape")


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
