"""The AKS stand-in as one process, for the adapters' tests, and the program that its pods run: a very small model server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_DEADLINE = 40.0
_QUICK = (
    "--start-delay", "0.2", "--stop-delay", "0.2", "--scale-up-delay", "0.3", "--scale-down-delay", "0.2",
    "--node-join-delay", "0.1", "--back-off", "0.2",
)  # fmt: skip

# Answers every GET with 200; a pod of a model called "broken" says why it cannot load, and ends.
_MODEL_SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
if os.environ["HOSTNAME"].startswith("tfs-broken"):
    sys.exit("Data loss: cannot parse saved_model.pb")
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *arguments):
        pass
HTTPServer((os.environ["LOCALCLOUD_BIND_ADDRESS"], 8501), Handler).serve_forever()
"""

# Stands for the exporter: what is uploaded as "bad", "slow" or "hungry" ends so; else it needs the storage, and a place to write.
_EXPORTER = """
import os, sys, tempfile, time
given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
print("converting", given["upload"], "as", given["job"], flush=True)
if given["upload"] == "bad":
    sys.exit("not_a_model: It is no model.\\nSave it again.")
if given["upload"] == "slow":
    time.sleep(300)
if given["upload"] == "hungry":
    held = bytearray(os.urandom(1 << 20) * 300)
    time.sleep(300)
assert os.environ["AzureWebJobsStorage"] == "Key=a$(b)c;", os.environ["AzureWebJobsStorage"]
tempfile.TemporaryFile().close()
assert tempfile.gettempdir() == os.environ["HOME"] != "/tmp"
"""


def until(look: Callable[[], T | None], what: str) -> T:
    """Looks again and again until there is something, within a bound."""
    deadline = time.monotonic() + _DEADLINE
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)
    return found


class AksProcess:
    """One run of the stand-in over ``folder``."""

    def __init__(self, folder: Path, storage: str, arguments: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        program, images, ready = folder / "server.py", folder / "images.json", folder / "ready.json"
        program.write_text(_MODEL_SERVER)
        exporter = folder / "exporter.py"
        exporter.write_text(_EXPORTER)
        entrypoint = [sys.executable, str(program)]
        programs = {"tensorflow_model_server": entrypoint}
        known = [
            {"pattern": "test/serving:*", "entrypoint": entrypoint, "programs": programs},
            {"pattern": "test/exporter:*", "entrypoint": [sys.executable, str(exporter)]},
        ]
        images.write_text(json.dumps(known))
        self._log = folder / "aks.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "localcloud.aks", "--data", str(folder / "data"), "--ready-file", str(ready),
                 "--storage-connection-string", storage, "--images", str(images), *_QUICK, *arguments],
                stdout=log, stderr=log, env=dict(os.environ), cwd=Path(__file__).parents[3],
            )  # fmt: skip
        try:
            until(lambda: ready.exists() or self._process.poll() is not None, "the stand-in is ready")
            assert self._process.poll() is None, self._log.read_text()
            self.ready: dict[str, str] = json.loads(ready.read_text())
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Ends it as its supervisor does."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
