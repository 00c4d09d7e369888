"""What the host writes on stderr, in the manner of ``func start``; levels from host.json's ``logging.logLevel``."""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from localcloud.functions_host.worker import current_function

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}


class _Formatter(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  (logging's name)
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _WithFunction(logging.Filter):
    """Adds the function that a record was written in."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.function = current_function.get()
        return True


def configure(levels: Mapping[str, str]) -> None:
    """Sends everything to stderr; ``levels``: ``default``, ``Function`` or ``Function.NAME`` → .NET level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("[%(asctime)s] %(levelname)s %(function)s: %(message)s"))
    handler.addFilter(_WithFunction())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("azure").setLevel(logging.WARNING)  # the SDKs write two lines per request otherwise
    for category, name in levels.items():
        if (level := _LEVELS.get(name.lower())) is not None:
            logging.getLogger(None if category.lower() == "default" else category).setLevel(level)
