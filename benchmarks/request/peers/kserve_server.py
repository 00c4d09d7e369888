"""A pass-through as a KServe transformer: the V1 protocol's JSON in, ``preprocess``, the predictor's REST API, ``postprocess``.

KServe's V1 endpoint takes JSON only, so its client sends the image as base64, which spares this peer the encoding.
"""

import os
import sys
from typing import Any
from urllib.parse import urlsplit

import kserve.protocol.rest.server
import uvicorn
from kserve import Model, ModelServer
from kserve.model import PredictorConfig

URL = urlsplit(os.environ["UPSTREAM_URL"])


class Transformer(Model):
    """Turns a request for classes into one for TensorFlow Serving."""

    def __init__(self) -> None:
        config = PredictorConfig(
            predictor_host=URL.netloc, predictor_protocol="v1", predictor_request_timeout_seconds=60
        )
        super().__init__("bench", config)
        self.ready = True

    async def preprocess(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        """What TensorFlow Serving is asked."""
        return {"signature_name": "classify_image", "inputs": {"image_bytes": payload["instances"]}}

    async def postprocess(
        self,
        result: dict[str, Any],
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Named classes."""
        outputs = result["outputs"]
        pairs = zip(outputs["labels"][0], outputs["scores"][0], strict=True)
        return {"predictions": [[{"label": label, "score": score} for label, score in pairs]]}


class Loopback(uvicorn.Config):
    """KServe listens on every address of the machine, and has no option for it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "host": "127.0.0.1", "access_log": False})


if __name__ == "__main__":
    kserve.protocol.rest.server.uvicorn.Config = Loopback
    config = PredictorConfig(predictor_host=URL.netloc, predictor_protocol="v1", predictor_request_timeout_seconds=60)
    server = ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1, predictor_config=config)
    server.start([Transformer()])
