"""A pass-through as tutorials write it with Flask and requests, served by Flask's own threaded server (which ends each
connection after one answer)."""

import base64
import logging
import os
import sys
from typing import Any

import requests
from flask import Flask, request

URL = os.environ["UPSTREAM_URL"]
app = Flask(__name__)
session = requests.Session()


@app.post("/classify")
def classify() -> dict[str, Any]:
    """Image in, classes out."""
    image = base64.b64encode(request.get_data()).decode()
    payload = {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": image}]}}
    answer = session.post(URL, json=payload, timeout=60)
    answer.raise_for_status()
    outputs = answer.json()["outputs"]
    found = [
        {"label": label, "score": score}
        for label, score in zip(outputs["labels"][0], outputs["scores"][0], strict=True)
    ]
    return {"predictions": [found]}


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run(host="127.0.0.1", port=int(sys.argv[1]), threaded=True)
