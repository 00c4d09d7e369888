"""What the container of a conversion's Job runs: ``python -m deployer.export_job --upload=STEM --job=NAME``.

Parse, call, end: with 0 where the upload came to an end that is in its record, be it a refusal; with 1 where it is to be tried
again, the reason as the last line.
"""

import argparse
import logging
import signal
import sys
import time
from types import FrameType

from deployer import telemetry
from deployer.errors import SlipwayError
from deployer.settings import Settings
from deployer.wiring import job_from_environment
from exporter import ExportError

log = logging.getLogger(__name__)

_PATIENCE = 150.0  # seconds; the lease of a function that was killed is free after thirty
_PAUSE = 1.0


def main() -> int:
    """Runs the conversion; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deployer.export_job", description=__doc__)
    parser.add_argument("--upload", required=True, help="the name that the model was dropped under")
    parser.add_argument("--job", required=True, help="the Job's own name, as the model's record has it")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _ended)
    settings = Settings()
    if settings.telemetry.json_logs:
        telemetry.write_json_lines()
    else:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    logging.getLogger("azure").setLevel(logging.WARNING)
    job = job_from_environment(settings)
    deadline = time.monotonic() + _PATIENCE
    try:
        while not job.run(given.upload, given.job):
            if time.monotonic() > deadline:
                return _failed(f"busy: another instance held '{given.upload}' for {_PATIENCE:.0f} s.")
            log.info("another instance holds '%s'; waiting", given.upload)
            time.sleep(_PAUSE)
    except (SlipwayError, ExportError) as error:
        return _failed(f"{error.code}: {error.message} {error.hint}")
    return 0


def _failed(why: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"{why}\n")
    return 1


def _ended(number: int, _frame: FrameType | None) -> None:
    """Unwinds, so that the lease is given back: whoever deleted the Job goes on at once."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
