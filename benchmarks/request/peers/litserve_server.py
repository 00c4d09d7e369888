"""A pass-through as a LitServe API: one worker, asynchronous, as its documentation recommends for calls to other services.

It takes JSON or forms, so its client sends the image as base64, which spares this peer the encoding.
"""

import os
import sys
from typing import Any

import httpx
import litserve

URL = os.environ["UPSTREAM_URL"]


class PassThrough(litserve.LitAPI):
    """Image in, classes out."""

    def setup(self, device: str) -> None:
        """One client for the worker."""
        self.client = httpx.AsyncClient()

    async def decode_request(self, request: dict[str, str]) -> dict[str, Any]:
        """What TensorFlow Serving is asked."""
        return {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": request["image"]}]}}

    async def predict(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Asks it."""
        answer = await self.client.post(URL, json=payload)
        answer.raise_for_status()
        outputs: dict[str, Any] = answer.json()["outputs"]
        return outputs

    async def encode_response(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Named classes."""
        pairs = zip(outputs["labels"][0], outputs["scores"][0], strict=True)
        return {"predictions": [[{"label": label, "score": score} for label, score in pairs]]}


if __name__ == "__main__":
    api = PassThrough(enable_async=True, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
