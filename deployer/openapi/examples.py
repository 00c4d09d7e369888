"""A request to a model as somebody can run it: with curl, and with nothing but Python. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from deployer.openapi import tensors

Signatures = Mapping[str, Mapping[str, Any]]

_CURL = 'curl -H "x-functions-key: $SLIPWAY_KEY" {data} \\\n  "$SLIPWAY_URL/api/{path}"'
_PYTHON = """\
import json, os, urllib.request
{lines}
request = urllib.request.Request(
    os.environ["SLIPWAY_URL"] + "/api/{path}", data=body,
    headers={{"x-functions-key": os.environ["SLIPWAY_KEY"], "Content-Type": "{kind}"}},
)
print(json.load(urllib.request.urlopen(request, timeout=60)))
"""


def examples(name: str, signatures: Signatures) -> dict[str, str]:
    """By tool, the request that a user of the model will most likely send first."""
    if "classify_image" in signatures:
        return classify_examples(name)
    return predict_examples(name, signatures)


def classify_examples(name: str) -> dict[str, str]:
    """An image file to the classification."""
    read = "with open('image.jpg', 'rb') as file:\n    body = file.read()"
    return {
        "curl": _CURL.format(data="--data-binary @image.jpg", path=f"classify/{name}"),
        "python": _PYTHON.format(lines=read, path=f"classify/{name}", kind="application/octet-stream"),
    }


def predict_examples(name: str, signatures: Signatures) -> dict[str, str]:
    """TensorFlow Serving's own request; a tensor too large to be written out is read from a file."""
    path, body = f"v1/models/{name}:predict", predict_body(signatures)
    if body is None:
        read = "with open('request.json', 'rb') as file:  # {\"inputs\": …}, as the schema says\n    body = file.read()"
        data = "--data-binary @request.json"
    else:
        text = json.dumps(body)
        read = f"body = json.dumps({body!r}).encode()"
        data = "-d " + _quoted(text)
    return {
        "curl": _CURL.format(data=data, path=path),
        "python": _PYTHON.format(lines=read, path=path, kind="application/json"),
    }


def with_model_key(found: Mapping[str, str]) -> dict[str, str]:
    """The same requests for who has a key of the model."""
    return {
        tool: source.replace("x-functions-key", "x-slipway-key").replace("/api/", "/api/keyed/")
        for tool, source in found.items()
    }


def predict_body(signatures: Signatures) -> dict[str, Any] | None:
    """A small request in column format for the signature that is asked by default; None where there is no small one."""
    signature = default_signature(signatures)
    inputs = signatures.get(signature, {}).get("inputs") or {}
    values = {name: tensors.example(spec) for name, spec in inputs.items()}
    if not values or any(value is None for value in values.values()):
        return None
    named = {} if signature == "serving_default" else {"signature_name": signature}
    return {**named, "inputs": values}


def default_signature(signatures: Signatures) -> str:
    """``serving_default``, or the first there is."""
    if "serving_default" in signatures or not signatures:
        return "serving_default"
    return next(iter(signatures))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
