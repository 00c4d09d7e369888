"""Counts what is asked of Azure Storage, by kind, from the SDK's own log of requests: each that is sent, retries included."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

_LOGGER = "azure.core.pipeline.policies.http_logging_policy"
_METHODS = {"GET": "read", "HEAD": "look", "PUT": "write", "DELETE": "remove", "POST": "queue"}


class _Counting(logging.Handler):
    def __init__(self, kinds: "Counter[str]") -> None:
        super().__init__(logging.INFO)
        self._kinds = kinds
        self._counting = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Request URL: "):
            with self._counting:
                self._kinds[kind_of(message)] += 1


def kind_of(logged: str) -> str:
    """What a request asks for, in a word. The log withholds the values of headers and parameters, not their names."""
    url, method = (line.split("'")[1] for line in logged.splitlines()[:2])
    parameters = parse_qs(urlsplit(url).query)
    if "x-ms-lease-action" in logged:
        return "lease"
    if "comp" in parameters:
        return "list" if "restype" in parameters else "tags"
    return _METHODS[method]


@contextmanager
def counted() -> Iterator["Counter[str]"]:
    """The calls of all threads within the block, by kind."""
    kinds: Counter[str] = Counter()
    logger, handler = logging.getLogger(_LOGGER), _Counting(kinds)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield kinds
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
