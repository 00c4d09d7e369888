"""``/openapi/v3``: the schemas of what is served, as kubectl wants them before it applies."""

import functools
import hashlib
import json
from typing import Any

from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.resources import RESOURCES, Resource, group_versions
from localcloud.kubernetes.schema import definitions

_QUERY = ("dryRun", "fieldManager", "fieldValidation", "force")


def openapi_document(path: str) -> Object | None:
    """Returns the index, or the document of one group and version; None where there is none."""
    below = path.removeprefix("/openapi/v3").strip("/")
    return _index() if not below else _documents().get(below)


@functools.cache
def _index() -> Object:
    paths = {
        name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={_digest(document)}"}
        for name, document in _documents().items()
    }
    return {"paths": paths}


def _digest(document: Object) -> str:
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:32].upper()


@functools.cache
def _documents() -> dict[str, Object]:
    names = {"api/v1": ("", "v1")}
    names |= {f"apis/{group}/{v}": (group, v) for group, versions in group_versions().items() for v in versions}
    return {name: _document(name, *group_version) for name, group_version in names.items()}


def _document(name: str, group: str, version: str) -> Object:
    served = [resource for resource in RESOURCES if (resource.group, resource.version) == (group, version)]
    schemas: dict[str, Any] = {}
    for resource in served:
        _collect(resource.definition, schemas)
    moved = json.dumps(schemas).replace("#/definitions/", "#/components/schemas/")
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.2"},
        "paths": {path: item for resource in served for path, item in _paths(name, resource).items()},
        "components": {"schemas": json.loads(moved)},
    }


def _collect(definition: str, found: dict[str, Any]) -> None:
    if definition in found:
        return
    found[definition] = definitions()[definition]
    waiting: list[Any] = [found[definition]]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str):
                _collect(reference.removeprefix("#/definitions/"), found)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _paths(name: str, resource: Resource) -> dict[str, Object]:
    if "patch" not in resource.verbs:
        return {}
    middle = "namespaces/{namespace}/" if resource.namespaced else ""
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    parameters = [{"name": query, "in": "query", "schema": {"type": "string"}} for query in _QUERY]
    responses = {"200": {"description": "OK"}}
    operation = {"parameters": parameters, "responses": responses, "x-kubernetes-group-version-kind": kind}
    return {f"/{name}/{middle}{resource.plural}/{{name}}": {"patch": operation}}
