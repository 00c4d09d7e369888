"""A pass-through as one writes it with FastAPI and httpx, served by uvicorn with its fast loop and parser."""

import base64
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request

URL = os.environ["UPSTREAM_URL"]


@asynccontextmanager
async def life(app: FastAPI) -> AsyncIterator[None]:
    """One client for the process."""
    async with httpx.AsyncClient() as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=life)


@app.post("/classify")
async def classify(request: Request) -> dict[str, Any]:
    """Image in, classes out."""
    image = base64.b64encode(await request.body()).decode()
    payload = {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": image}]}}
    answer = await request.app.state.client.post(URL, json=payload)
    answer.raise_for_status()
    outputs = answer.json()["outputs"]
    found = [
        {"label": label, "score": score}
        for label, score in zip(outputs["labels"][0], outputs["scores"][0], strict=True)
    ]
    return {"predictions": [found]}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
