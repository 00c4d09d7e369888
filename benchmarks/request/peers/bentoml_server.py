"""A pass-through as a BentoML service: the image is its root input, one worker, an asynchronous endpoint."""

import base64
import os
from pathlib import Path
from typing import Annotated, Any

import bentoml
import httpx
from bentoml.validators import ContentType

URL = os.environ["UPSTREAM_URL"]


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1000})
class PassThrough:
    """Image in, classes out."""

    def __init__(self) -> None:
        self.client = httpx.AsyncClient()

    @bentoml.api
    async def classify(self, image: Annotated[Path, ContentType("image/jpeg")], /) -> dict[str, Any]:
        """Asks TensorFlow Serving."""
        text = base64.b64encode(image.read_bytes()).decode()
        payload = {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": text}]}}
        answer = await self.client.post(URL, json=payload)
        answer.raise_for_status()
        outputs = answer.json()["outputs"]
        pairs = zip(outputs["labels"][0], outputs["scores"][0], strict=True)
        return {"predictions": [[{"label": label, "score": score} for label, score in pairs]]}
