"""What the image ``test/http`` runs: a small server whose behaviour the tests choose by its arguments."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

parser = argparse.ArgumentParser(allow_abbrev=False)
parser.add_argument("--port", type=int, default=8080)
parser.add_argument("--say", default="")
parser.add_argument("--exit", type=int, help="end at once with this status")
parser.add_argument("--end-after", type=Path, help="end with status 0 once this file is there")
parser.add_argument("--healthy-while", type=Path, help="/healthz is 200 while this file is there")
parser.add_argument("--leave", help="leave a child with this in its command line")
parser.add_argument("--hang-while", type=Path, help="nothing is answered while this file is there")
parser.add_argument("--eat", type=int, default=0, help="take this many MiB of memory")
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--show", type=Path, help="/ answers with this file")
options = parser.parse_args()


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        while options.hang_while is not None and options.hang_while.exists():
            time.sleep(0.05)
        healthy = options.healthy_while is None or options.healthy_while.exists()
        status = 200 if path != "/healthz" or healthy else 503
        if path == "/env":
            body = json.dumps(dict(os.environ))
        elif options.show is not None:
            body = options.show.read_text()
        else:
            body = os.environ["HOSTNAME"]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_arguments: object) -> None:
        """Keeps the log for what the tests say."""


def ended(_number: int, _frame: FrameType | None) -> None:
    sys.stdout.write("asked to end\n")
    sys.stdout.flush()
    if not options.ignore_term:
        os._exit(0)


signal.signal(signal.SIGTERM, ended)
sys.stdout.write(options.say.replace("|", "\n") + "\n" if options.say else "")
sys.stdout.flush()
if options.leave is not None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", options.leave])
eaten = bytearray(os.urandom(1 << 20)) * options.eat
if options.exit is not None:
    sys.exit(options.exit)
server = ThreadingHTTPServer((os.environ["LOCALCLOUD_BIND_ADDRESS"], options.port), Handler)
while options.end_after is None:
    server.serve_forever()
server.timeout = 0.05
while not options.end_after.exists():
    server.handle_request()
    time.sleep(0)
