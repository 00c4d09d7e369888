"""A pass-through as one writes it with aiohttp: its server, its client, JSON by the library."""

import base64
import os
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

URL = os.environ["UPSTREAM_URL"]


async def classify(request: web.Request) -> web.Response:
    """Image in, classes out."""
    image = base64.b64encode(await request.read()).decode()
    payload = {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": image}]}}
    async with request.app["session"].post(URL, json=payload) as answer:
        answer.raise_for_status()
        outputs = (await answer.json())["outputs"]
    found = [
        {"label": label, "score": score}
        for label, score in zip(outputs["labels"][0], outputs["scores"][0], strict=True)
    ]
    return web.json_response({"predictions": [found]})


async def client(app: web.Application) -> AsyncIterator[None]:
    """One session for the process."""
    async with aiohttp.ClientSession() as session:
        app["session"] = session
        yield


app = web.Application(client_max_size=64 << 20)
app.cleanup_ctx.append(client)
app.router.add_post("/classify", classify)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
