"""The OpenAPI document of one model, and of all. Pure: records in, a document out; ``deployer.control`` hands them over."""

from collections.abc import Iterable, Mapping
from typing import Any

from deployer import __version__
from deployer.openapi.answers import (
    HEADERS,
    HOST_SECURITY,
    MODEL_SECURITY,
    PREDICTION_ERRORS,
    PREFER,
    READ_ERRORS,
    SCHEMAS,
    SECURITY_SCHEMES,
    SESSION,
    Document,
    accepted,
    errors,
    json_answer,
    reference,
)
from deployer.openapi.examples import (
    classify_examples,
    examples,
    predict_examples,
    with_model_key,
)
from deployer.openapi.serving import serving_paths
from deployer.record import ModelRecord, VersionRecord

_BINARY: Document = {"type": "string", "format": "binary"}
_BASE64: Document = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}
_OBJECT: Document = {"type": "object"}
_IMAGE_BODY = {
    **{
        kind: {"schema": _BINARY}
        for kind in ("image/jpeg", "image/png", "image/gif", "image/bmp", "application/octet-stream")
    },
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"image": {"type": "array", "items": _BINARY, "minItems": 1}},
            "required": ["image"],
        },
    },
    "application/json": {
        "schema": {
            "anyOf": [
                {"type": "object", "properties": {"image": _BASE64}, "required": ["image"]},
                {
                    "type": "object",
                    "properties": {"images": {"type": "array", "items": _BASE64, "minItems": 1}},
                    "required": ["images"],
                },
                {
                    "type": "object",
                    "properties": {"url": {"type": "string", "description": "of a blob in an allowed account"}},
                    "required": ["url"],
                },
            ]
        }
    },
}


def for_model(record: ModelRecord, *, keyed: bool = False) -> Document:
    """One model: its classification, TensorFlow Serving's API of it, and its operations. ``keyed``: with a key of the model."""
    return _document(f"Slipway: {record.name}", {**_paths(record, keyed=keyed), **_operations()}, keyed=keyed)


def for_all(records: Iterable[ModelRecord]) -> Document:
    """Every model, and what is asked of models and cluster as such."""
    paths: Document = {}
    name = "NAME"
    for record in records:
        paths, name = {**paths, **_paths(record)}, record.name
    return _document("Slipway", {**paths, **_operations(), **_control(name)}, keyed=False)


def endpoint(record: ModelRecord) -> Document:
    """How a model is asked, as its view shows it: addresses, the schema of the version that callers meet, and examples."""
    version = shown_version(record)
    signatures = version.signatures if version is not None else {}
    return {
        "endpoint": {
            "classify": f"/api/classify/{record.name}" if "classify_image" in signatures else None,
            "predict": f"/api/v1/models/{record.name}:predict",
            "openapi": f"/api/models/{record.name}/openapi.json",
        },
        "schema": signatures,
        "examples": {} if version is None else examples(record.name, signatures),
    }


def shown_version(record: ModelRecord) -> VersionRecord | None:
    """The version whose signatures callers meet: the one that serves, else the one that should."""
    number = record.route.version if record.route is not None else record.desired
    return record.version(number) if number is not None and record.has(number) else None


def _document(title: str, paths: Document, *, keyed: bool) -> Document:
    security = MODEL_SECURITY if keyed else HOST_SECURITY
    used = {name for scheme in security for name in scheme}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": __version__},
        "servers": [{"url": "/api/keyed" if keyed else "/api"}],
        "security": security,
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "headers": HEADERS,
            "securitySchemes": {name: scheme for name, scheme in SECURITY_SCHEMES.items() if name in used},
        },
    }


def _paths(record: ModelRecord, *, keyed: bool = False) -> Document:
    name, version = record.name, shown_version(record)
    if version is None:
        return {}
    signatures = version.signatures
    paths = serving_paths(name, signatures, _samples(predict_examples(name, signatures), keyed=keyed))
    if "classify_image" in signatures:
        paths[f"/classify/{name}"] = {"post": _classify(name, keyed=keyed)}
    return paths


def _classify(name: str, *, keyed: bool) -> Document:
    parameters = [
        _query("top", {"type": "integer", "minimum": 1, "maximum": 999_999_999}, "at most so many classes an image"),
        _query("min_score", {"type": "number", "minimum": 0, "maximum": 1}, "only classes with at least this score"),
        _query("version", {"type": "integer", "minimum": 1, "maximum": 999_999_999}, "the one that serves, or its canary"),
        PREFER, SESSION,
    ]  # fmt: skip
    return {
        "operationId": f"{name}-classify",
        "summary": f"Named classes for images, by {name}",
        "tags": [name],
        "parameters": parameters,
        "requestBody": {"required": True, "content": _IMAGE_BODY},
        "responses": {
            "200": json_answer("The classes.", reference("Classes"), predicted=True), "202": accepted(),
            **errors((*PREDICTION_ERRORS, 403)),
        },
        "x-codeSamples": _samples(classify_examples(name), keyed=keyed),
    }  # fmt: skip


def _operations() -> Document:
    shown = _get("operation", "A prediction that was asked for with Prefer: respond-async", "operations", READ_ERRORS)
    shown["parameters"] = [_path("id")]
    shown["responses"]["200"] = json_answer("Where it stands.", reference("Operation"))
    return {"/operations/{id}": {"get": shown}}


def _control(name: str) -> Document:
    """``name``: of a model there is, for an example."""
    control = "models and cluster"
    named = {**_path("name"), "example": name}
    anonymous = {**_get("health", "Liveness of the app itself", control, (500,)), "security": []}
    minutes = _query("minutes", {"type": "integer", "minimum": 1}, "how long it outranks the idle timer")
    month = _query("month", {"type": "string", "example": "2026-11"}, "YYYY-MM; this month without it")
    uploads = _query("uploads", {"type": "boolean"}, "whether what was dropped goes, too")
    back: Document = {
        "content": {"application/json": {"schema": {"type": "object", "properties": {"version": {"type": "integer"}}}}}
    }
    orders = {"wake": "Wake all models", "sleep": "Put all models to sleep", "hold": "Leave all as it is"}
    return {
        "/models": {"get": _get("models", "All models", control, READ_ERRORS)},
        "/models/{name}": {
            "parameters": [named],
            "get": _get("model", "One model, whole", control, READ_ERRORS),
            "delete": {**_command("remove", "Remove a model with all its versions", control), "parameters": [uploads]},
        },
        "/models/{name}/openapi.json": {
            "parameters": [named], "get": _get("model-openapi", "One model's OpenAPI document", control, READ_ERRORS),
        },
        "/models/{name}/retry": {
            "parameters": [named], "post": _command("retry", "Take up what failed or was given up", control),
        },
        "/models/{name}/rollback": {
            "parameters": [named],
            "post": {**_command("rollback", "Go back to a version, or to the one before", control), "requestBody": back},
        },
        "/cluster": {"get": _get("cluster", "The cluster and what the idle timer does next", control, READ_ERRORS)},
        "/cluster/plan": {"get": _get("plan", "What the idle ladder would do if nobody asked anything", control, READ_ERRORS)},
        **{
            f"/cluster/{order}": {"post": {**_command(order, summary, control), "parameters": [minutes]}}
            for order, summary in orders.items()
        },
        "/cluster/release": {"post": _command("release", "Take an order back", control)},
        "/ledger": {
            "get": {
                **_get("ledger", "What ran in a month, and what it cost", control, (*READ_ERRORS, 400)),
                "parameters": [month],
            }
        },
        "/doctor": {"get": _get("doctor", "What is wrong around the app", control, READ_ERRORS)},
        "/doctor/repair": {"post": _command("repair", "Make lost records anew", control, status=200)},
        "/openapi.json": {"get": _get("openapi", "This document", control, READ_ERRORS)},
        "/health": {"get": anonymous},
    }  # fmt: skip


def _command(operation: str, summary: str, tag: str, *, status: int = 202) -> Document:
    """What is commanded by POST or DELETE: done, or begun."""
    described = _get(operation, summary, tag, (*READ_ERRORS, 400, 409))
    described["responses"][str(status)] = described["responses"].pop("200")
    return described


def _get(operation: str, summary: str, tag: str, statuses: tuple[int, ...]) -> Document:
    return {
        "operationId": operation, "summary": summary, "tags": [tag],
        "responses": {
            "200": json_answer(f"{summary}.", _OBJECT), **errors(statuses),
        },
    }  # fmt: skip


def _query(name: str, schema: Document, description: str) -> Document:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _path(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _samples(found: Mapping[str, str], *, keyed: bool) -> list[dict[str, Any]]:
    languages = {"curl": "Shell", "python": "Python"}
    samples = with_model_key(found) if keyed else found
    return [{"lang": languages[tool], "label": tool, "source": source} for tool, source in samples.items()]
