"""``python -m localcloud.functions_host --app DIR --data DIR --ready-file F``; app settings in the environment.

Exit status: 0 after SIGTERM or SIGINT, 1 where the app cannot be run (the reason is on stderr), 2 for wrong arguments.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

from localcloud.functions_host.errors import HostError
from localcloud.functions_host.host import Options, run
from localcloud.functions_host.queue_listener import Pace


def main() -> int:
    """Runs the host; see the module."""
    options = _options()
    _allow_many_connections()
    try:
        all_ended = asyncio.run(run(options, os.environ))
        status = 0
    except HostError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        sys.stderr.write(f"The Functions host cannot start. {error}\n")
        all_ended, status = True, 1
    _end_children()
    if not all_ended:
        # A thread still runs a function. Python would wait for it; the host's grace is over.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    return status


def _options() -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m localcloud.functions_host", description="Runs a Function App (Python v2 model)."
    )
    parser.add_argument("--app", type=Path, required=True, help="folder of function_app.py and host.json")
    parser.add_argument("--data", type=Path, required=True, help="folder for keys and the host ID")
    parser.add_argument("--ready-file", type=Path, help="written, as JSON, once the host listens")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument(
        "--blob-poll-seconds", type=float, default=0.5, help="Azure: 10; Event Grid tells within a second"
    )
    parser.add_argument("--queue-poll-seconds", type=float, default=1.0, help="caps maxPollingInterval; Azure: no cap")
    parser.add_argument("--queue-hidden-seconds", type=int, default=30, help="of a message taken; Azure: 600")
    parser.add_argument("--grace-seconds", type=float, default=5.0, help="for running functions, at the end")
    parser.add_argument("--http-limit-seconds", type=float, default=230.0, help="after which a client gets a 504")
    values = parser.parse_args()
    return Options(
        app=values.app,
        data=values.data,
        ready_file=values.ready_file,
        port=values.port,
        blob_poll_seconds=values.blob_poll_seconds,
        pace=Pace(longest_wait=values.queue_poll_seconds, hidden=values.queue_hidden_seconds),
        grace_seconds=values.grace_seconds,
        http_limit_seconds=values.http_limit_seconds,
    )


def _allow_many_connections() -> None:
    """Lets the process have as many files open as it may: each idle client is one, and shells begin with a thousand."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end_children() -> None:
    """Ends what the functions have started and left, where this process leads a group of its own."""
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
