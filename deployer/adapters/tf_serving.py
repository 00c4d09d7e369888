"""TensorFlow Serving's REST API, for the few requests that the deployer itself makes. Implements ``ModelServer``."""

import json
from collections.abc import Mapping
from typing import Any

import urllib3

from deployer.errors import Unavailable

_TIMEOUT = urllib3.Timeout(connect=2.0, read=60.0)


class TensorFlowServing:
    """Asks a model server directly, each time on a connection of its own."""

    def predict(
        self, address: str, model: str, version: int, signature: str, inputs: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The ``outputs`` in column format; a single output, which TensorFlow Serving leaves unnamed, is under ''.

        Raises:
            Unavailable: no answer, or an error; the message is TensorFlow Serving's own.
        """
        url = f"{address}/v1/models/{model}/versions/{version}:predict"
        body = json.dumps({"signature_name": signature, "inputs": inputs})
        try:
            answer = urllib3.request("POST", url, body=body, timeout=_TIMEOUT, retries=False)
            found = json.loads(answer.data)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise Unavailable("model_server", f"{url} gave no answer: {error}") from error
        match answer.status, found:
            case 200, {"outputs": dict(outputs)}:
                return outputs
            case 200, {"outputs": outputs}:
                return {"": outputs}
            case status, {"error": message}:
                raise Unavailable("model_server", f"{url} answered {status}: {message}")
            case status, _:
                raise Unavailable(
                    "model_server", f"{url} answered {status} with what is none of its answers: {found!r}"[:500]
                )
