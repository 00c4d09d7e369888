"""TensorFlow Serving's REST API of one model as operations of an OpenAPI document. Pure.

Predict is there for every signature; classify and regress where a signature has that method, as SavedModels of estimators do:
these take ``examples``, objects of features that the model itself parses, whose names and types its signature does not tell.
"""

from collections.abc import Mapping
from typing import Any, Literal

from deployer.openapi import tensors
from deployer.openapi.answers import (
    PREDICTION_ERRORS,
    PREFER,
    READ_ERRORS,
    SESSION,
    Document,
    accepted,
    errors,
    json_answer,
)
from deployer.openapi.examples import Signatures, default_signature, predict_body

Method = Literal["classify", "regress"]

_METHODS: tuple[Method, ...] = ("classify", "regress")
_LOOKS = (*READ_ERRORS, 400, 502, 504)
_TEXT: Document = {"type": "string"}
_FEATURE: Document = {
    "anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "string"}, tensors.B64], "description": "of one kind in a list",
}  # fmt: skip
_EXAMPLE: Document = {
    "type": "object",
    "description": "features by name, as the model's own feature columns parse them",
    "additionalProperties": {"anyOf": [_FEATURE, {"type": "array", "items": _FEATURE}]},
}
_RESULTS: Mapping[Method, Document] = {
    "classify": {
        "type": "array",
        "description": "for each example its classes",
        "items": {
            "type": "array",
            "items": {
                "type": "array",
                "items": {"type": ["string", "number"]},
                "minItems": 2,
                "maxItems": 2,
                "description": "label (empty where the model has none) and score",
            },
        },
    },
    "regress": {"type": "array", "description": "for each example its value", "items": {"type": "number"}},
}
_STATUS: Document = {
    "type": "object",
    "properties": {
        "model_version_status": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "version": {"type": "string", "pattern": "^[0-9]+$"},
                    "state": {"enum": ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                    "status": {"type": "object", "properties": {"error_code": _TEXT, "error_message": _TEXT}},
                },
                "required": ["version", "state"],
            },
        }
    },
    "required": ["model_version_status"],
}
_TENSORS: Document = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "properties": {
            "name": _TEXT,
            "dtype": {"type": "string", "pattern": "^DT_"},
            "tensor_shape": {
                "type": "object",
                "properties": {
                    "dim": {"type": "array", "items": {"type": "object", "properties": {"size": _TEXT, "name": _TEXT}}},
                    "unknown_rank": {"type": "boolean"},
                },
            },
        },
    },
}
_METADATA: Document = {
    "type": "object",
    "properties": {
        "model_spec": {
            "type": "object", "properties": {"name": _TEXT, "signature_name": _TEXT, "version": _TEXT}, "required": ["name"],
        },
        "metadata": {
            "type": "object",
            "properties": {
                "signature_def": {
                    "type": "object",
                    "properties": {
                        "signature_def": {
                            "type": "object",
                            "additionalProperties": {
                                "type": "object",
                                "properties": {"inputs": _TENSORS, "outputs": _TENSORS, "method_name": _TEXT},
                            },
                        }
                    },
                }
            },
        },
    },
    "required": ["model_spec", "metadata"],
}  # fmt: skip


def serving_paths(name: str, signatures: Signatures, samples: list[Document]) -> Document:
    """By path: predict (``samples``: requests to it that can be run), classify and regress, status and metadata."""
    base = f"/v1/models/{name}"
    asked = {method: found for method in _METHODS if (found := _with_method(signatures, method))}
    return {
        f"{base}:predict": {"post": _predict(name, signatures, samples)},
        **{f"{base}:{method}": {"post": _inferred(name, method, named)} for method, named in asked.items()},
        base: {"get": _look(name, "status", "TensorFlow Serving's status of the version that serves", _STATUS)},
        f"{base}/metadata": {"get": _look(name, "metadata", "TensorFlow Serving's metadata of it", _METADATA)},
    }


def _predict(name: str, signatures: Signatures, samples: list[Document]) -> Document:
    example = predict_body(signatures)
    content: Document = {"schema": {"anyOf": _requests(signatures)}}
    if example is not None:
        content["example"] = example
    return {**_asked(name, "predict", content, {"anyOf": _answers(signatures)}), "x-codeSamples": samples}


def _inferred(name: str, method: Method, signatures: tuple[str, ...]) -> Document:
    default = "serving_default" in signatures
    schema = {
        "type": "object",
        "properties": {
            "signature_name": {"enum": list(signatures)},
            "context": {**_EXAMPLE, "description": "features that all examples have"},
            "examples": {"type": "array", "items": _EXAMPLE, "minItems": 1},
        },
        "required": ["examples"] if default else ["signature_name", "examples"],
    }
    results = {"type": "object", "properties": {"results": _RESULTS[method]}, "required": ["results"]}
    return _asked(name, method, {"schema": schema}, results)


def _asked(name: str, method: str, content: Document, answer: Document) -> Document:
    # Predict has the model's name alone, as ":classify" would else share its name with /classify/NAME.
    operation = f"{name}-predict" if method == "predict" else f"{name}-serving-{method}"
    return {
        "operationId": operation,
        "summary": f"TensorFlow Serving's {method}, by {name}",
        "tags": [name],
        "parameters": [PREFER, SESSION],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": json_answer("TensorFlow Serving's answer.", answer, predicted=True),
            "202": accepted(), **errors(PREDICTION_ERRORS, shape="ServingError"),
        },
    }  # fmt: skip


def _look(name: str, what: str, summary: str, schema: Document) -> Document:
    return {
        "operationId": f"{name}-{what}", "summary": summary, "tags": [name],
        "responses": {
            "200": json_answer(f"{summary}.", schema, predicted=True), **errors(_LOOKS, shape="ServingError"),
        },
    }  # fmt: skip


def _with_method(signatures: Signatures, method: Method) -> tuple[str, ...]:
    return tuple(
        name for name, described in signatures.items() if described.get("method") == f"tensorflow/serving/{method}"
    )


def _requests(signatures: Signatures) -> list[Document]:
    """Each signature in column format and, where every input has a batch, in row format."""
    found: list[Document] = []
    default = default_signature(signatures)
    for signature, described in (signatures or {default: {}}).items():
        inputs = described.get("inputs") or {}
        forms = {"inputs": tensors.columns(inputs, open_names=False)}
        if all(tensors.batched(spec) for spec in inputs.values()):
            forms["instances"] = tensors.rows(inputs, open_names=False)
        named = [] if signature == "serving_default" else ["signature_name"]
        for form, schema in forms.items():
            found.append(
                {
                    "type": "object",
                    "title": f"{signature}, {'column' if form == 'inputs' else 'row'} format",
                    "properties": {"signature_name": {"const": signature}, form: schema},
                    "required": [*named, form],
                }
            )
    return found


def _answers(signatures: Signatures) -> list[Document]:
    """What is answered to each of them; an output that is not a number is written as NaN or Infinity, which JSON has not."""
    found: list[Document] = []
    for signature, described in (signatures or {"serving_default": {}}).items():
        outputs: Mapping[str, Any] = described.get("outputs") or {}
        for key, schema in (
            ("outputs", tensors.columns(outputs, open_names=True)),
            ("predictions", tensors.rows(outputs, open_names=True)),
        ):
            found.append({"type": "object", "title": signature, "properties": {key: schema}, "required": [key]})
    return found
