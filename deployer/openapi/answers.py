"""What the operations of the API share: the shapes of answers and errors, headers, parameters and security. Pure."""

from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]

ERRORS: Mapping[int, str] = {
    400: "The request cannot be used; `code` says what is wrong with it.",
    401: "The key is missing or wrong. The Functions host of Azure answers this without a body.",
    403: "An image was given by an address that is not allowed.",
    404: "There is no such model, version, operation or path.",
    409: "The version does not run, or has no signature that classifies images.",
    413: "The body, the images or their pixels exceed a bound of the settings.",
    415: "The body is in an encoding that is not taken.",
    429: "Too many requests are under way; `Retry-After` says when to come back.",
    500: "A bug, or a part that is not configured.",
    502: "The model server answered with an error of its own.",
    503: "The model sleeps and is being woken (`waking`, with `eta_seconds`), or a part does not answer.",
    504: "The model server did not answer in time.",
}
PREDICTION_ERRORS = (400, 401, 404, 409, 413, 415, 429, 500, 502, 503, 504)
READ_ERRORS = (401, 404, 500, 503)

_TEXT: Document = {"type": "string"}
_COUNT: Document = {"type": "integer", "minimum": 1}
_ERROR: Document = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "stable; docs/reference/errors.md lists them"},
                "message": _TEXT,
                "hint": {"type": "string", "description": "what to do next"},
                "eta_seconds": {"type": "integer", "description": "with `waking`: what remains"},
                "stage": {"type": "string", "description": "with `waking`: how far it is"},
                "stages": {
                    "type": "array",
                    "description": "with `waking`: its stages in order; seconds so far (null: to come), and expected",
                    "items": {
                        "type": "object",
                        "properties": {
                            "stage": _TEXT,
                            "seconds": {"type": ["number", "null"]},
                            "expected_seconds": {"type": ["number", "null"]},
                        },
                    },
                },
            },
            "required": ["code", "message", "hint"],
        }
    },
    "required": ["error"],
}
_SERVING_ERROR: Document = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "in TensorFlow Serving's shape"},
        "slipway": {**_ERROR["properties"]["error"], "description": "with errors of Slipway's own"},
    },
    "required": ["error"],
}
_CLASSES: Document = {
    "type": "object",
    "properties": {
        "model": _TEXT,
        "version": _COUNT,
        "predictions": {
            "type": "array",
            "description": "for each image its classes, best first",
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"label": _TEXT, "score": {"type": ["number", "null"]}},
                    "required": ["label", "score"],
                },
            },
        },
    },
    "required": ["model", "version", "predictions"],
}
_OPERATION: Document = {
    "type": "object",
    "properties": {
        "id": _TEXT,
        "model": _TEXT,
        "state": {"enum": ["pending", "running", "done", "failed"]},
        "created": {"type": "string", "format": "date-time"},
        "status": {"type": "integer", "description": "of the answer, once there is one"},
        "result": {"description": "the prediction, when done: the body that the request would have had for an answer"},
        "error": {"description": "when failed: the error that the request would have had for an answer"},
        "eta_seconds": {"type": "integer"},
        "stage": _TEXT,
    },
    "required": ["id", "model", "state", "created"],
}

SCHEMAS: Document = {
    "Error": _ERROR, "ServingError": _SERVING_ERROR, "Classes": _CLASSES, "Operation": _OPERATION,
}  # fmt: skip
SECURITY_SCHEMES: Document = {
    "functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key", "description": "function or host key"},
    "functionCode": {"type": "apiKey", "in": "query", "name": "code", "description": "the same, in the address"},
    "modelKey": {
        "type": "apiKey", "in": "header", "name": "x-slipway-key",
        "description": "a key of one model, below /api/keyed only",
    },
}  # fmt: skip
HOST_SECURITY: list[Document] = [{"functionKey": []}, {"functionCode": []}]
MODEL_SECURITY: list[Document] = [{"modelKey": []}]
HEADERS: Document = {
    "request-id": {"description": "the caller's own, where sane, or a new one", "schema": _TEXT},
    "model-version": {"description": "the version that answered", "schema": _COUNT},
    "served-by": {"description": "`cpu-bridge` where a replica on CPU answered", "schema": _TEXT},
    "retry-after": {"description": "seconds", "schema": {"type": "integer", "minimum": 0}},
    "location": {"description": "the operation's address", "schema": {"type": "string", "format": "uri-reference"}},
}
PREFER: Document = {
    "name": "Prefer", "in": "header", "schema": _TEXT, "example": "wait=30",
    "description": "`wait=SECONDS` holds the request while the model wakes; `respond-async` answers 202 and an operation",
}  # fmt: skip
SESSION: Document = {
    "name": "x-slipway-session", "in": "header", "schema": _TEXT,
    "description": "requests with the same text get the same side of a canary",
}  # fmt: skip


def reference(schema: str) -> Document:
    """A reference to one of the shared schemas."""
    return {"$ref": f"#/components/schemas/{schema}"}


def json_answer(description: str, schema: Document, *, predicted: bool = False) -> Document:
    """An answer in JSON; ``predicted``: by a version of a model, which it names."""
    headers = {"x-request-id": _header("request-id")}
    if predicted:
        headers["x-slipway-model-version"] = _header("model-version")
        headers["x-slipway-served-by"] = _header("served-by")
    return {"description": description, "headers": headers, "content": {"application/json": {"schema": schema}}}


def errors(statuses: tuple[int, ...], *, shape: str = "Error") -> Document:
    """The error answers of these statuses."""
    found: Document = {}
    for status in statuses:
        answer = json_answer(ERRORS[status], reference("Error" if status == 401 else shape))
        if status in (429, 503):
            answer["headers"]["Retry-After"] = _header("retry-after")
        found[str(status)] = answer
    return found


def accepted() -> Document:
    """The answer to ``Prefer: respond-async``."""
    answer = json_answer("Taken; the prediction is made when the model is awake.", reference("Operation"))
    answer["headers"] |= {
        "Location": _header("location"), "Operation-Location": _header("location"), "Retry-After": _header("retry-after"),
    }  # fmt: skip
    return answer


def _header(name: str) -> Document:
    return {"$ref": f"#/components/headers/{name}"}
