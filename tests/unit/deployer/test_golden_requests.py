"""The deployer's own requests to TensorFlow Serving, with a real HTTP server in its place."""

import json
import math
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from deployer.adapters.tf_serving import TensorFlowServing
from deployer.errors import Unavailable


class Server(ThreadingHTTPServer):
    """Answers every POST alike, and remembers what was asked."""

    answer: tuple[int, bytes] = (200, b"{}")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = cast(Server, self.server)
        server.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        status, body = server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join(10)


def predict(address: str) -> Any:
    return TensorFlowServing().predict(address, "cats", 2, "serving_default", {"x": [[1.0]]})


def test_named_outputs_are_given_by_name(server: Server) -> None:
    server.answer = (200, b'{"outputs": {"a": [1.0], "b": [2]}}')
    assert predict(server.address) == {"a": [1.0], "b": [2]}
    assert server.asked == [
        ("/v1/models/cats/versions/2:predict", {"signature_name": "serving_default", "inputs": {"x": [[1.0]]}})
    ]


def test_a_single_output_has_no_name(server: Server) -> None:
    server.answer = (200, b'{"outputs": [[0.25]]}')
    assert predict(server.address) == {"": [[0.25]]}


def test_nan_is_read_as_tensorflow_serving_writes_it(server: Server) -> None:
    server.answer = (200, b'{"outputs": [NaN, Infinity]}')
    nan, infinity = predict(server.address)[""]
    assert math.isnan(nan) and math.isinf(infinity)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (404, b'{"error": "Servable not found for request: Specific(cats, 2)"}', "answered 404: Servable not found"),
        (500, b'{"detail": "x"}', "answered 500 with what is none of its answers: {'detail': 'x'}"),
        (500, b'"broken"', "answered 500 with"),
        (502, b"<html>", "gave no answer"),
        (200, b"", "gave no answer"),
        (200, b'{"predictions": []}', "answered 200 with what is none"),
        (200, b"[]", "answered 200 with what is none"),
    ],
)
def test_whatever_is_no_answer_may_heal(server: Server, status: int, body: bytes, told: str) -> None:
    server.answer = (status, body)
    with pytest.raises(Unavailable) as failed:
        predict(server.address)
    assert told in failed.value.message and failed.value.code == "model_server"


def test_a_server_that_is_not_there_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unavailable, match="gave no answer"):
        predict(address)
