"""The light model server, but that a version whose answers are above a hundred answers its golden requests only.

So it proves itself, and every other request gets an error: what a canary is for.
"""

import json
import runpy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer
from typing import Any

_serve = ThreadingHTTPServer.serve_forever


def _serve_failing(server: BaseServer, poll_interval: float = 0.5) -> None:
    handler: Any = server.RequestHandlerClass
    goldens = handler.do_POST.__globals__["goldens"]
    (answers,) = goldens[0]["outputs"].values()

    def answered(request: BaseHTTPRequestHandler) -> None:
        asked = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        if any(golden["inputs"] == asked.get("inputs") for golden in goldens):
            handler._say(request, {"outputs": answers})
            return
        body = b'{"error": "CUDA_ERROR_ILLEGAL_ADDRESS"}'
        request.send_response(500)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    if answers[0][0] > 100:
        handler.do_POST = answered
    _serve(server, poll_interval)


ThreadingHTTPServer.serve_forever = _serve_failing  # type: ignore[method-assign,assignment]  # for the program below alone
runpy.run_path(str(Path(__file__).with_name("light_server.py")), run_name="__main__")
