"""Request bodies into objects: what is no such object is refused, in the words of the server's decoder.

Unknown fields are dropped and reported (``fieldValidation``), nulls dropped, wrong types refused.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any

from localcloud.kubernetes.errors import ApiError, bad_request, wrong
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.resources import Resource
from localcloud.kubernetes.schema import Node, root
from localcloud.kubernetes.yaml_text import parse_yaml

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_QUANTITY_TEXT = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_GO_KINDS = {"string": "string", "boolean": "bool", "number": "float64"}


@dataclass
class Findings:
    """What a decoder noticed besides the object."""

    unknown: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)

    def texts(self) -> list[str]:
        """Returns each finding as warnings name it."""
        return [f'unknown field "{path}"' for path in self.unknown] + [
            f'duplicate field "{path}"' for path in self.duplicates
        ]


class _WrongTypeError(Exception):
    pass


def parse_body(text: bytes, *, is_yaml: bool, kind: str) -> tuple[Object, Findings]:
    """Reads the body of a POST or PUT into JSON.

    Raises ApiError (400) for what is no JSON or YAML object.
    """
    findings = Findings()
    prefix = (
        f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: "
    )
    if is_yaml:
        value = parse_yaml(text)
    else:
        try:
            value = _loads(text, findings)
        except ValueError as error:
            shown = (text.decode(errors="replace")[:30] + " ...") if text else "<empty>"
            reason = _json_fault(error)
            raise bad_request(f"{prefix}{reason} ({shown})") from error
    if not isinstance(value, dict):
        go_type = (
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
        raise bad_request(
            f"{prefix}json: cannot unmarshal {_json_kind(value)} into Go value of type {go_type} ({text[:2].hex()})"
        )
    return value, findings


def parse_patch(text: bytes, *, wanted: type) -> Any:
    """Reads a JSON patch body: a list for a JSON patch, an object for the merging kinds.

    Raises ApiError (400).
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {_json_fault(error)}") from error
    if not isinstance(value, wanted):
        go_type = "[]handlers.jsonPatchOp" if wanted is list else "map[string]interface {}"
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {_json_kind(value)} into Go value of type {go_type}"
        )
    return value


def _loads(text: bytes, findings: Findings) -> Any:
    def pairs(members: list[tuple[str, Any]]) -> Object:
        seen: Object = {}
        for key, value in members:
            if key in seen:
                findings.duplicates.append(key)
            seen[key] = value
        return seen

    value = json.loads(text, object_pairs_hook=pairs)
    if findings.duplicates:
        findings.duplicates = [_path_to(value, key) for key in findings.duplicates]
    return value


def _path_to(value: Any, key: str, prefix: str = "") -> str:
    if isinstance(value, dict):
        if key in value:
            return prefix + key
        for name, member in value.items():
            if found := _path_to(member, key, f"{prefix}{name}."):
                return found
    return ""


def _json_fault(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError) and error.pos < len(error.doc.rstrip()) - 1:
        return f"invalid character '{error.doc[error.pos]}' looking for beginning of value"
    return "unexpected end of JSON input"


def _json_kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"


def decode(resource: Resource, body: Object, findings: Findings | None = None) -> Object:
    """Types ``body`` as an object of ``resource``: apiVersion and kind are set, unknown fields and nulls dropped.

    Raises ApiError (400) for a field of the wrong type or another apiVersion.
    """
    version = body.get("apiVersion") or resource.api_version
    if version != resource.api_version:
        message = (
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
        raise bad_request(message)
    kind = body.get("kind") or resource.kind
    found = findings if findings is not None else Findings()
    try:
        value = _typed(root(resource.definition), body, "", resource.kind, found)
    except _WrongTypeError as error:
        message = f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {error}'
        raise bad_request(message) from error
    if kind != resource.kind:
        raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}')
    typed: Object = value | {"kind": resource.kind, "apiVersion": resource.api_version}
    return typed


def strict(findings: Findings, validation: str, resource: Resource) -> list[str]:
    """Applies ``fieldValidation``: returns what to warn of, raises ApiError (400) under Strict."""
    texts = findings.texts()
    if texts and validation == "Strict":
        refusal = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise bad_request(f"{refusal}: strict decoding error: {', '.join(texts)}")
    return [] if validation == "Ignore" else texts


def _typed(node: Node, value: Any, path: str, owner: str, findings: Findings) -> Any:
    schema = node.resolved
    match schema.get("type"):
        case "object" if isinstance(value, dict):
            name = node.name.rsplit(".", 1)[-1] or owner
            return _typed_members(node, value, path, name, findings)
        case "array" if isinstance(value, list):
            return [
                _typed(node.items, entry, f"{path}[{index}]", owner, findings)
                for index, entry in enumerate(value)
                if entry is not None
            ]
        case "object" | "array":
            raise _WrongTypeError(_mismatch(value, path, owner, node.name.rsplit(".", 1)[-1] or str(schema["type"])))
        case _:
            return _scalar(node, schema, value, path, owner)


def _typed_members(node: Node, value: Object, path: str, name: str, findings: Findings) -> Object:
    if node.shape == "atomic" and "properties" not in node.resolved and "additionalProperties" not in node.resolved:
        return value
    typed: Object = {}
    for key, member in value.items():
        here = path if node.shape == "map" else f"{path}.{key}" if path else key
        child = node.field(key)
        if child is None:
            findings.unknown.append(here)
        elif member is not None:
            typed[key] = _typed(child, member, here, name, findings)
    return typed


def _scalar(node: Node, schema: Object, value: Any, path: str, owner: str) -> Any:
    kind, form = schema.get("type"), schema.get("format", "")
    if node.name == _QUANTITY:
        if (
            isinstance(value, bool)
            or not isinstance(value, str | int | float)
            or not _QUANTITY_TEXT.fullmatch(str(value))
        ):
            raise _WrongTypeError(f"quantities must match the regular expression '^{_QUANTITY_TEXT.pattern}$'")
        return str(value)
    if form == "int-or-string":
        if isinstance(value, str | int) and not isinstance(value, bool):
            return value
    elif form == "byte":
        return _base64(value, path, owner)
    elif kind == "integer":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise _WrongTypeError(_mismatch(value, path, owner, form or "int64"))
    elif (
        (kind == "string" and isinstance(value, str))
        or (kind == "boolean" and isinstance(value, bool))
        or (kind == "number" and isinstance(value, int | float))
    ):
        return value
    raise _WrongTypeError(_mismatch(value, path, owner, _GO_KINDS.get(str(kind), str(kind))))


def _base64(value: Any, path: str, owner: str) -> str:
    if not isinstance(value, str):
        raise _WrongTypeError(_mismatch(value, path, owner, "[]uint8"))
    try:
        base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise _WrongTypeError("illegal base64 data at input byte 0") from error
    return value


def _mismatch(value: Any, path: str, owner: str, go_type: str) -> str:
    if path.startswith("metadata."):
        owner = "ObjectMeta"
    return f"json: cannot unmarshal {_json_kind(value)} into Go struct field {owner}.{path} of type {go_type}"


def bad_patch(patched: Object, error: ApiError) -> ApiError:
    """Words a patch whose result is no such object: the patched object is shown whole (422)."""
    cause = wrong("patch", json.dumps(json.dumps(patched, separators=(",", ":"))), _decoder_fault(error.message))
    details = {"causes": [cause.to_json()]}
    return ApiError(422, "Invalid", f' "" is invalid: {cause.field}: {cause.message}', details)


def _decoder_fault(message: str) -> str:
    return message.partition("cannot be handled as a ")[2].partition(": ")[2] or message
