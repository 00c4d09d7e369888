"""A model server that computes nothing: it answers the golden requests of the servables it is told to serve, and any other
request like the first of them. So a story may start hundreds of pods.
"""

import argparse
import json
import os
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any

MOUNTS = json.loads(os.environ.get("LOCALCLOUD_MOUNTS", "{}"))
parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--rest_api_port", type=int, default=8501)
parser.add_argument("--model_config_file", default="")
options, _ = parser.parse_known_args()


def on_host(path: str) -> Path:
    """Where a path of the container lies."""
    for inside, outside in sorted(MOUNTS.items(), key=lambda item: -len(item[0])):
        if path == inside or path.startswith(f"{inside}/"):
            return Path(outside + path.removeprefix(inside))
    return Path(path)


text = on_host(options.model_config_file).read_text()
(name,), (version,) = re.findall(r'name: "(\S+)"', text), re.findall(r"versions: (\d+)", text)
manifest = json.loads(on_host(f"/models/{name}/{version}/servable.json").read_text())
goldens: list[dict[str, Any]] = manifest["golden"]


class Handler(BaseHTTPRequestHandler):
    """TensorFlow Serving's REST API, as far as it is asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say({"model_version_status": [{"version": version, "state": "AVAILABLE"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        same = [golden for golden in goldens if golden["inputs"] == asked.get("inputs")]
        outputs = (same or goldens)[0]["outputs"]
        self._say({"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs})

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""

    def _say(self, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def ended(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)


signal.signal(signal.SIGTERM, ended)
sys.stdout.write(f"serving {name} {version}\n")
sys.stdout.flush()
ThreadingHTTPServer((os.environ["LOCALCLOUD_BIND_ADDRESS"], options.rest_api_port), Handler).serve_forever()
