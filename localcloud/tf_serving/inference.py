"""One request through one model: parse, run, render. Blocking; the server calls it in a worker thread.

``Servable`` is what a loaded model offers. Only ``engine`` knows how.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from localcloud.tf_serving import examples, json_text, predict_json, render
from localcloud.tf_serving.errors import Code, ServingError, invalid
from localcloud.tf_serving.tensors import Array, Signature

_PREDICT, _CLASSIFY, _REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


class Servable(Protocol):
    """A loaded model version."""

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """Its signatures by name."""

    @property
    def signature_def(self) -> Mapping[str, object]:
        """The same as protobuf's JSON tree, for the metadata request."""

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str]) -> list[Array]:
        """The tensors ``fetches`` of the graph when the tensors ``feeds`` have these values."""

    def close(self) -> None:
        """Frees what the model holds."""


def predict(found: Servable | ServingError, body: bytes) -> bytes:
    """Answers a predict request.

    ``found`` is the model, or the error of looking it up: it is due after the errors of the JSON itself.

    Raises:
        ServingError: what TensorFlow Serving would answer.
    """
    document = json_text.parse(body)
    name = predict_json.signature_name(document)
    servable = _servable(found)
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {document.get('signature_name') or 'DEFAULT'}")
    layout, inputs = predict_json.read(document, signature.inputs)
    return render.predictions(layout, run(servable, signature, inputs))


def run(servable: Servable, signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every output of a signature, by alias.

    Raises:
        ServingError: the signature is none for prediction, inputs are missing, or TensorFlow's own error.
    """
    if signature.method not in (_PREDICT, _CLASSIFY, _REGRESS):
        raise ServingError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{_PREDICT}, {_CLASSIFY}, {_REGRESS}}}. "
            f"Was: {signature.method}",
        )
    if inputs.keys() != signature.inputs.keys():
        sent, wanted = set(inputs), set(signature.inputs)
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({_names(sent)}) != "
            f"len({_names(wanted)}). Sent extra: {_names(sent - wanted)}. "
            f"Missing but required: {_names(wanted - sent)}."
        )
    feeds = {signature.inputs[alias].tensor: array for alias, array in inputs.items()}
    fetches = sorted({spec.tensor for spec in signature.outputs.values()})
    fetched = dict(zip(fetches, servable.run(feeds, fetches), strict=True))
    return {alias: fetched[spec.tensor] for alias, spec in signature.outputs.items()}


def classify(found: Servable | ServingError, body: bytes) -> bytes:
    """Answers a classify request.

    Raises:
        ServingError: what TensorFlow Serving would answer.
    """
    document, serialized = _examples(body)
    servable = _servable(found)
    signature = _signature(servable, document, "classification", _CLASSIFY)
    if not 1 <= len(signature.outputs) <= 2:
        raise invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if not signature.outputs.keys() & {"classes", "scores"}:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            'Expected classification signature outputs to contain at least one of "classes" or "scores".',
        )
    outputs = run(servable, signature, {"inputs": serialized})
    labels, scores = outputs.get("classes"), outputs.get("scores")
    for name, array, kind, text in (("classes", labels, "O", "DT_STRING"), ("scores", scores, "f", "DT_FLOAT")):
        if array is not None:
            _check_classes(name, array, kind, text, len(serialized))
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise invalid(
            f"Tensors class and score should match in dim_size(1). Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    return render.results(render.classes(labels, scores), one_line=False)


def regress(found: Servable | ServingError, body: bytes) -> bytes:
    """Answers a regress request.

    Raises:
        ServingError: what TensorFlow Serving would answer.
    """
    document, serialized = _examples(body)
    servable = _servable(found)
    signature = _signature(servable, document, "regression", _REGRESS)
    if len(signature.outputs) != 1:
        raise invalid("Expected one output Tensor.")
    if "outputs" not in signature.outputs:
        raise ServingError(Code.FAILED_PRECONDITION, "No regression outputs found in SignatureDef")
    values = run(servable, signature, {"inputs": serialized})["outputs"]
    if not (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"[{','.join(map(str, values.shape))}]"
        )
    if len(values) != len(serialized):
        raise invalid(f"Input batch size did not match output batch size: {len(serialized)} vs. {len(values)}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {values.dtype}")
    return render.results(render.decimals(values.ravel()), one_line=True)


def _examples(body: bytes) -> tuple[dict[str, json_text.Json], Array]:
    document = json_text.parse(body)
    predict_json.signature_name(document)
    return document, examples.read(document)


def _servable(found: Servable | ServingError) -> Servable:
    if isinstance(found, ServingError):
        raise found
    return found


def _signature(servable: Servable, document: Mapping[str, json_text.Json], kind: str, method: str) -> Signature:
    name = predict_json.signature_name(document)
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid(f"No signature was found with the name: {name}")
    if signature.method != method:
        raise invalid(f"Expected {kind} signature method_name to be {method}. Was: {signature.method}")
    if len(signature.inputs) != 1:
        raise invalid("Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef")
    return signature


def _check_classes(name: str, array: Array, kind: str, text: str, count: int) -> None:
    if array.ndim != 2:
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got [{','.join(map(str, array.shape))}]")
    if array.dtype.kind != kind or (kind == "f" and array.dtype != np.float32):
        raise invalid(f"Expected {name} Tensor of {text}. Got: {array.dtype}")
    if len(array) != count:
        raise invalid(f"Expected {name} output batch size of {count}. Got: {len(array)}")


def _names(names: set[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"
