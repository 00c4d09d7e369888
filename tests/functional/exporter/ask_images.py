"""Asks ``classify_image`` of servables as the model server runs them, about image files.

Reads ``{name: {"servable": directory, "requests": [[b64, …], …]}}`` from standard input; writes for each request its
outputs by name, or ``{"error": message}``.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from localcloud.tf_serving import inference
from localcloud.tf_serving.engine import EngineOptions, SessionServable
from localcloud.tf_serving.errors import ServingError


def main() -> None:
    print(json.dumps({name: answers(**question) for name, question in json.load(sys.stdin).items()}))  # noqa: T201


def answers(servable: str, requests: list[list[str]]) -> list[dict[str, Any]]:
    loaded = SessionServable(Path(servable), EngineOptions())
    found: list[dict[str, Any]] = []
    for request in requests:
        images = np.array([base64.b64decode(image) for image in request], dtype=object)
        try:
            outputs = inference.run(loaded, loaded.signatures["classify_image"], {"image_bytes": images})
        except ServingError as error:
            found.append({"error": str(error)})
        else:
            found.append({name: plain(value) for name, value in outputs.items()})
    loaded.close()
    return found


def plain(array: Any) -> Any:
    return np.asarray(array).astype(str).tolist() if array.dtype == object else np.asarray(array).tolist()


if __name__ == "__main__":
    main()
