"""A function app for the command line to talk to: the HTTP API of Slipway with answers that a test decides.

Models are real records shown by the deployer's own views, so that what the command line reads is what the app says.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "the-function-key"


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What is answered; ``body`` that is bytes is sent as it is."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Reply]


@dataclass
class FakeSlipway:
    """Answers by path; what is not there is a 404 in the shape of the API."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def on(self, path: str, *replies: Reply) -> None:
        """The replies to requests at ``path``, in turn; the last goes on being given."""
        left = list(replies)
        self.answers[path] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def answer(self, request: Request) -> Reply:
        """Keeps the request and answers it, if it has the key."""
        self.requests.append(request)
        if request.headers.get("x-functions-key") != KEY:
            return Reply(401, b"")
        path = request.path.partition("?")[0]
        if path not in self.answers:
            return refusal(404, "no_model", f"There is nothing at {path}.", "GET /api/models lists the models.")
        return self.answers[path](request)


def refusal(
    status: int, code: str, message: str, hint: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Reply:
    """An error of the API."""
    return Reply(status, {"error": {"code": code, "message": message, "hint": hint, **more}}, headers or {})


def waking(eta: int = 240) -> Reply:
    """What a sleeping model answers."""
    return refusal(
        503, "waking", "'cats' is waking.", "Ask again.", {"Retry-After": "1"}, eta_seconds=eta, stage="gpu-node"
    )


@contextmanager
def running() -> Iterator[FakeSlipway]:
    """Listens on a free port of loopback until the end of the context."""
    fake = FakeSlipway("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            self._reply()

        def do_DELETE(self) -> None:
            self._reply()

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  (the name of its base)
            """Says nothing."""

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = fake.answer(Request(self.command, self.path, headers, body))
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
