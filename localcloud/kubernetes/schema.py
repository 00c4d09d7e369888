"""The shape of every served kind, from ``schema.json``.

``schema.json`` holds the structural part of the OpenAPI document that Kubernetes 1.36 publishes: types, which lists are
merged by which keys, which maps are atomic. Decoding, server-side apply and patches all walk it.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from localcloud.kubernetes.objects import Object

Shape = Literal["struct", "map", "keyed", "set", "atomic", "scalar"]

SCHEMA_FILE = Path(__file__).with_name("schema.json")


@functools.cache
def definitions() -> dict[str, Object]:
    """Returns the definitions by full name."""
    loaded: dict[str, Object] = json.loads(SCHEMA_FILE.read_text())
    return loaded


@dataclass(frozen=True)
class Node:
    """One place in a schema: a field, an entry of a list, a value of a map."""

    raw: str
    """The schema of this place, as JSON text (so that nodes can be compared and cached)."""
    name: str = ""
    """Name of the definition it refers to, if it does."""

    @property
    def resolved(self) -> Object:
        """The schema with its reference followed; what the referring field says about merging is kept."""
        return _resolve(self.raw)

    @property
    def shape(self) -> Shape:
        """How values here are merged and owned."""
        return _shape(self.raw)

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields that identify an entry of a keyed list."""
        return tuple(self.resolved.get("x-kubernetes-list-map-keys", ()))

    @property
    def merge_key(self) -> str | None:
        """The field by which a strategic merge patch matches entries; None where it replaces the list."""
        schema = self.resolved
        if "merge" not in schema.get("x-kubernetes-patch-strategy", "").split(","):
            return None
        key: str = schema.get("x-kubernetes-patch-merge-key", "")
        return key

    def field(self, name: str) -> "Node | None":
        """Returns the node of a struct's field or a map's value; None for a field that does not exist."""
        return _field(self.raw, name)

    @property
    def items(self) -> "Node":
        """The node of a list's entries."""
        return _node(self.resolved["items"])

    def key_default(self, key: str) -> Any:
        """Returns the default of a list key that may be left out; ports' protocol is the only one used here."""
        return "TCP" if key == "protocol" else None


@functools.cache
def _resolve(raw: str) -> Object:
    schema: Object = json.loads(raw)
    if "$ref" not in schema:
        return schema
    return definitions()[_reference(schema)] | {key: value for key, value in schema.items() if key != "$ref"}


@functools.cache
def _shape(raw: str) -> Shape:
    schema = _resolve(raw)
    match schema.get("type"):
        case "object" if schema.get("x-kubernetes-map-type") == "atomic":
            return "atomic"
        case "object" if "properties" in schema:
            return "struct"
        case "object" if "additionalProperties" in schema:
            return "map"
        case "object":
            return "atomic"
        case "array":
            kinds: dict[str, Shape] = {"map": "keyed", "set": "set"}
            return kinds.get(schema.get("x-kubernetes-list-type", ""), "atomic")
        case _:
            return "scalar"


@functools.cache
def _field(raw: str, name: str) -> Node | None:
    schema = _resolve(raw)
    properties: Object = schema.get("properties", {})
    if name in properties:
        return _node(properties[name])
    return _node(schema["additionalProperties"]) if "additionalProperties" in schema else None


def _reference(schema: Object) -> str:
    return str(schema["$ref"]).removeprefix("#/definitions/")


def _node(schema: Object) -> Node:
    return Node(json.dumps(schema, sort_keys=True), _reference(schema) if "$ref" in schema else "")


@functools.cache
def root(definition: str) -> Node:
    """Returns the node of a whole object of that definition."""
    return _node({"$ref": f"#/definitions/{definition}"})
