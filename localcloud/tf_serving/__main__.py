"""``python -m localcloud.tf_serving --rest_api_port=8501 --model_name=NAME --model_base_path=FOLDER``."""

import asyncio
import logging
import os
import sys
from importlib.metadata import version

from localcloud.tf_serving import flags
from localcloud.tf_serving.errors import StartError
from localcloud.tf_serving.paths import Mounts
from localcloud.tf_serving.server import bind_address, serve

_FAILED = 255  # the real server's main returns -1


def main() -> int:
    """Runs the server; returns the exit status."""
    try:
        options = flags.parse(sys.argv[1:])
        mounts = Mounts.parse(os.environ.get("LOCALCLOUD_MOUNTS", ""))
    except (flags.UsageError, ValueError) as error:
        _say(f"{error}\n{flags.usage()}")
        return _FAILED
    if options.version:
        _say(f"TensorFlow ModelServer: stand-in of slipway {version('slipway')}")
        return 0
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03d: %(levelname).1s %(name)s] %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    _note_what_is_not_served(options)
    try:
        asyncio.run(serve(options, address=bind_address(os.environ), mounts=mounts))
    except StartError as error:
        _say(f"Failed to start server. Error: {error}")
        return _FAILED
    return 0


def _note_what_is_not_served(options: flags.Options) -> None:
    log = logging.getLogger("localcloud.tf_serving")
    log.info("This is a stand-in for tensorflow_model_server; gRPC is not served, port %d stays closed.", options.port)
    if options.enable_batching:
        log.info("Batching is accepted and not done: requests run one by one.")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A load under way cannot be interrupted, and the interpreter would wait for its thread: end without it.
    os._exit(status)
