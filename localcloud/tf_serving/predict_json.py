"""The body of a predict request as tensors, in row format (``instances``) or column format (``inputs``). Pure."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from localcloud.tf_serving.errors import ServingError, invalid
from localcloud.tf_serving.json_text import Json, pretty
from localcloud.tf_serving.tensors import Array, TensorSpec, from_json, is_b64

Layout = Literal["row", "column"]
_DEFAULT_SIGNATURE = "serving_default"


def signature_name(document: Mapping[str, Json]) -> str:
    """The signature that a request names, or the default one.

    Raises:
        ServingError: INVALID_ARGUMENT: it is not a string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {pretty(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name or _DEFAULT_SIGNATURE


def read(document: Mapping[str, Json], specs: Mapping[str, TensorSpec]) -> tuple[Layout, dict[str, Array]]:
    """The input tensors of a predict request, by alias, and the layout that the answer must have too.

    Raises:
        ServingError: INVALID_ARGUMENT or UNIMPLEMENTED, in TensorFlow Serving's words.
    """
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {pretty(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise invalid(f"JSON Value: {pretty(document)} Excepting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {pretty(document)} No values in 'instances' array")
        return "row", _rows(instances, specs)
    if "inputs" in document:
        return "column", _columns(document["inputs"], specs)
    raise invalid("Missing 'inputs' or 'instances' key")


def _columns(inputs: Json, specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    if not isinstance(inputs, dict) or is_b64(inputs):
        if len(specs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        ((alias, spec),) = specs.items()
        return {alias: from_json(inputs, spec)}
    tensors = {}
    for alias, spec in specs.items():
        if alias not in inputs:
            raise invalid(f"Missing named input: {alias} in 'inputs' object.")
        tensors[alias] = from_json(inputs[alias], spec)
    return tensors


def _is_named(element: Json) -> bool:
    return isinstance(element, dict) and not is_b64(element)


def _rows(instances: list[Json], specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    if not isinstance(instances[0], dict) and len(specs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(instances[0])
    rows: list[dict[str, Array]] = []
    if not named and not any(map(_is_named, instances)):
        alias, spec = next(iter(specs.items()))
        whole = _whole(instances, spec)
        if whole is not None:
            return {alias: whole}
    for index, element in enumerate(instances):
        if named and not _is_named(element):
            raise invalid(f"Expecting object but got list at item {index} of input list")
        if not named and _is_named(element):
            raise invalid(f"Expecting value/list but got object at item {index} of input list")
        rows.append(_named_row(index, element, specs, rows) if named else _plain_row(index, element, specs, rows))
    return {alias: np.stack([row[alias] for row in rows]) for alias in rows[0]}


def _whole(instances: list[Json], spec: TensorSpec) -> Array | None:
    """All instances as one tensor, or None where one of them is wrong: the walk by element then says which."""
    try:
        return from_json(instances, spec)
    except ServingError:
        return None


def _plain_row(
    index: int, element: Json, specs: Mapping[str, TensorSpec], before: list[dict[str, Array]]
) -> dict[str, Array]:
    alias, spec = next(iter(specs.items()))
    try:
        return {alias: _like_first(from_json(element, spec), before[0][alias] if before else None)}
    except ServingError as error:
        raise invalid(f"Failed to process element: {index} of 'instances' list. Error: {error}") from error


def _named_row(
    index: int, element: Mapping[str, Json], specs: Mapping[str, TensorSpec], before: list[dict[str, Array]]
) -> dict[str, Array]:
    row = {}
    for alias, value in element.items():
        try:
            if alias not in specs:
                raise invalid(f"JSON object: does not have named input: {alias}")
            row[alias] = _like_first(from_json(value, specs[alias]), before[0][alias] if before else None)
        except ServingError as error:
            raise invalid(
                f"Failed to process element: {index} key: {alias} of 'instances' list. Error: {error}"
            ) from error
    if row.keys() != specs.keys():
        raise invalid(
            f"Failed to process element: {index} of 'instances' list. JSON object: {pretty(element)} keys must be "
            f"equal to: {','.join(sorted(specs))}"
        )
    return row


def _like_first(array: Array, first: Array | None) -> Array:
    if first is not None and array.size != first.size:
        raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if first is not None and array.shape != first.shape:
        raise invalid(f"Expecting shape {_shape(first)} but got: {_shape(array)}")
    return array


def _shape(array: Array) -> str:
    return f"[{','.join(map(str, array.shape))}]"
