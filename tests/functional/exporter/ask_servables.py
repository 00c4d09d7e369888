"""Asks servables through ``tf.saved_model.load`` and the model server, and their sources through ``predict``.

None of these is how the exporter does it; the model server optimizes graphs, which the exporter does not.

Reads ``{name: {"source": file, "servable": directory, "requests": {signature: {input: nested lists or b64}}}}`` from
standard input; writes ``{name: {"servable": {signature: outputs}, "server": {signature: outputs}, "source": outputs to
the first numeric request}}``.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from localcloud.tf_serving import inference
from localcloud.tf_serving.engine import EngineOptions, SessionServable


def main() -> None:
    print(json.dumps({name: answers(**question) for name, question in json.load(sys.stdin).items()}))  # noqa: T201


def answers(source: str | None, servable: str, requests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    loaded = tf.saved_model.load(servable)
    server = SessionServable(Path(servable), EngineOptions())
    found: dict[str, Any] = {"servable": {}, "server": {}, "source": None}
    for name, request in requests.items():
        signature = loaded.signatures[name]
        specs = signature.structured_input_signature[1]
        inputs = {key: tf.constant(decoded(value), specs[key].dtype) for key, value in request.items()}
        found["servable"][name] = {key: plain(value.numpy()) for key, value in signature(**inputs).items()}
        arrays = {key: value.numpy() for key, value in inputs.items()}
        by_server = inference.run(server, server.signatures[name], arrays)
        found["server"][name] = {key: plain(value) for key, value in by_server.items()}
        if name == "serving_default" and source is not None:
            model = keras.saving.load_model(source, compile=False)
            outputs = model.predict(inputs if len(inputs) > 1 else next(iter(inputs.values())), verbose=0)
            found["source"] = [plain(output) for output in keras.tree.flatten(outputs)]
    server.close()
    return found


def decoded(value: Any) -> Any:
    match value:
        case {"b64": text}:
            return base64.b64decode(text)
        case list():
            return [decoded(item) for item in value]
        case _:
            return value


def plain(array: np.ndarray[Any, Any]) -> Any:
    return array.astype(str).tolist() if array.dtype == object else array.tolist()


if __name__ == "__main__":
    main()
