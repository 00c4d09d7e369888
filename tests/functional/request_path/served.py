"""The application in the local Functions host, in front of a stand-in for a model server, and a client with plain sockets."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from azure.storage.blob import BlobServiceClient

from deployer.record import Canary, Route
from localcloud import stand_in_model

SECONDS = 30.0  # longer than any answer may take


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error, whose shape is checked."""
        document = self.json
        whole = document["error"] if isinstance(document["error"], dict) else document["slipway"]
        assert whole["message"] and whole["hint"], document
        assert self.headers["x-request-id"]
        code: str = whole["code"]
        return code


class ModelServer:
    """Answers as TensorFlow Serving does: two classes for each image, or 400 for what is no JSON of its own."""

    def __init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(SECONDS)


_RESULT: dict[str, object] = {"classify": [["lynx", 0.9], ["cat", 0.1]], "regress": 2.5}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path.endswith("/metadata"):
            spec = {"name": "cats", "signature_name": "", "version": "1"}
            self._answer(200, {"model_spec": spec, "metadata": {"signature_def": {}}, "asked": self.path})
        else:
            self._answer(200, {"model_version_status": [{"version": "1", "state": "AVAILABLE"}], "asked": self.path})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if (method := self.path.rpartition(":")[2]) in _RESULT:
            self._infer(_RESULT[method], body)
            return
        try:
            count = len(json.loads(body)["inputs"]["image_bytes"])
        except (ValueError, KeyError, TypeError):
            self._answer(400, {"error": "JSON Parse error: Invalid value. at offset: 0"})
            return
        outputs = {"labels": [["lynx", "cat"]] * count, "scores": [[0.9, 0.1]] * count}
        self._answer(200, {"outputs": outputs})

    def _infer(self, result: object, body: bytes) -> None:
        """One result for each example."""
        try:
            found = json.loads(body)["examples"]
            fits = bool(found) and all(isinstance(example, dict) for example in found)
        except (ValueError, KeyError, TypeError):
            fits = False
        if fits:
            self._answer(200, {"results": [result] * len(found)})
        else:
            self._answer(400, {"error": "When method is classify, key 'examples' is expected and was not found"})

    def _answer(self, status: int, document: Mapping[str, object]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """Nothing."""


@dataclass(frozen=True)
class Served:
    """The running application, for which ``cats`` serves (v1, with v2 as a canary without a share)."""

    port: int
    key: str
    storage: str
    server: ModelServer

    def serve(self, name: str, signatures: Mapping[str, object] | None = None) -> None:
        """Makes a model serve."""
        canary = Canary(version=2, address=self.server.address, share=0)
        route = Route(version=1, address=self.server.address, canary=canary)
        given = {"classify_image": {}, "serving_default": {}} if signatures is None else signatures
        stand_in_model.store(self.storage, stand_in_model.record(name, route, given))

    def try_canary(self, name: str, share: float) -> None:
        """Makes a model serve whose v2 gets this share of the requests."""
        canary = Canary(version=2, address=self.server.address, share=share)
        route = Route(version=1, address=self.server.address, canary=canary)
        stand_in_model.store(self.storage, stand_in_model.record(name, route))

    def forget(self, name: str) -> None:
        """As if there had never been such a model."""
        with BlobServiceClient.from_connection_string(self.storage) as service:
            service.get_blob_client("slipway", f"models/{name}.json").delete_blob()

    def put_to_sleep(self, name: str) -> None:
        """Makes a model one that sleeps."""
        route = Route(version=1, address=self.server.address)
        stand_in_model.store(self.storage, stand_in_model.record(name, route).but(route=None, asleep=True))

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, key: bool = True
    ) -> Answer:
        """A request of which path, headers and body go out as they are."""
        own = {"Host": "localhost", "Content-Length": str(len(body)), **({"x-functions-key": self.key} if key else {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**own, **(headers or {})}.items())
        return self.exchange(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("utf-8", "surrogateescape") + body)

    def exchange(self, raw: bytes) -> Answer:
        """Sends these bytes and reads one answer."""
        with socket.create_connection(("127.0.0.1", self.port), SECONDS) as connection:
            with contextlib.suppress(ConnectionError):  # it may have answered already: the answer is read all the same
                connection.sendall(raw)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return Answer(answer.status, answer.headers, answer.read())

    def classify(self, body: bytes, kind: str = "image/png", query: str = "", **headers: str) -> Answer:
        """An image for ``cats``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", f"/api/classify/cats{query}", body, {"Content-Type": kind, **named})
