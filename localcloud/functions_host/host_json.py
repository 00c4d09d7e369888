"""host.json as the Functions host reads it: the keys that matter here, with Azure's defaults.

Settings named ``AzureFunctionsJobHost__section__key`` override the file, as on Azure. Keys that this host gives no
meaning (``extensionBundle``, ``telemetryMode``, …) are left alone.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localcloud.functions_host.errors import HostJsonError

_OVERRIDE = "azurefunctionsjobhost__"
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):([0-5]?\d):([0-5]?\d(?:\.\d+)?)")
_MAX_BATCH = 32  # Azure Queue Storage: messages in one Get Messages


@dataclass(frozen=True)
class QueueOptions:
    """``extensions.queues``; times in seconds. At most ``batch_size + new_batch_threshold`` run at once."""

    batch_size: int
    new_batch_threshold: int
    max_dequeue_count: int = 5
    visibility_timeout: float = 0.0  # until a failed message is tried again
    max_polling_interval: float = 60.0
    encoding: Literal["base64", "none"] = "base64"


@dataclass(frozen=True)
class BlobOptions:
    """``extensions.blobs``."""

    max_degree_of_parallelism: int
    poison_blob_threshold: int = 5

    def queue_options(self) -> QueueOptions:
        """How the host reads its own queue of blobs: parallelism split as the extension does."""
        batch = min(_MAX_BATCH, self.max_degree_of_parallelism // 2 + 1)
        return QueueOptions(
            batch_size=batch,
            new_batch_threshold=self.max_degree_of_parallelism - batch,
            max_dequeue_count=self.poison_blob_threshold,
        )


@dataclass(frozen=True)
class HttpOptions:
    """``extensions.http``; ``None``: unbounded."""

    route_prefix: str = "api"
    max_concurrent_requests: int | None = None
    max_outstanding_requests: int | None = None


@dataclass(frozen=True)
class HostJson:
    """The whole file. ``function_timeout`` in seconds, ``None``: unbounded."""

    queues: QueueOptions
    blobs: BlobOptions
    http: HttpOptions
    function_timeout: float | None
    functions: frozenset[str] | None
    log_levels: Mapping[str, str]


def load(app: Path, settings: Mapping[str, str]) -> HostJson:
    """Reads ``app/host.json``.

    Raises:
        HostJsonError: it is missing, is not JSON, is not of version 2.0, or has a value out of range.
    """
    path = app / "host.json"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise HostJsonError(
            f'There is no {path}. A Function App needs one; the least is {{"version": "2.0"}}.'
        ) from None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise HostJsonError(f"{path} is not JSON: {error}.") from error
    if not isinstance(content, dict):
        raise HostJsonError(f"{path} must hold a JSON object.")
    root = _Section(path, "", content, _overrides(settings))
    if root.text("version", "") != "2.0":
        raise HostJsonError(f'{path}: "version" must be "2.0" (Functions v2 and later).')
    names = root.value("functions")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise root.error("functions", names, "a list of function names")
    return HostJson(
        queues=_queues(root.section("extensions", "queues")),
        blobs=_blobs(root.section("extensions", "blobs")),
        http=_http(root.section("extensions", "http")),
        function_timeout=root.seconds("functionTimeout", 30 * 60.0),  # the default of Flex Consumption and Premium
        functions=None if names is None else frozenset(names),
        log_levels=root.section("logging", "logLevel").texts(),
    )


def _queues(section: "_Section") -> QueueOptions:
    batch = section.integer("batchSize", 16, least=1, most=_MAX_BATCH)
    encoding = section.text("messageEncoding", "base64").lower()
    if encoding not in {"base64", "none"}:
        raise section.error("messageEncoding", encoding, '"base64" or "none"')
    return QueueOptions(
        batch_size=batch,
        new_batch_threshold=section.integer("newBatchThreshold", batch // 2 * (os.cpu_count() or 1), least=0),
        max_dequeue_count=section.integer("maxDequeueCount", 5, least=1),
        visibility_timeout=section.seconds("visibilityTimeout", 0.0) or 0.0,
        max_polling_interval=section.seconds("maxPollingInterval", 60.0) or 60.0,
        encoding="none" if encoding == "none" else "base64",
    )


def _blobs(section: "_Section") -> BlobOptions:
    return BlobOptions(
        max_degree_of_parallelism=section.integer("maxDegreeOfParallelism", 8 * (os.cpu_count() or 1), least=1),
        poison_blob_threshold=section.integer("poisonBlobThreshold", 5, least=1),
    )


def _http(section: "_Section") -> HttpOptions:
    concurrent = section.integer("maxConcurrentRequests", -1, least=-1)
    outstanding = section.integer("maxOutstandingRequests", -1, least=-1)
    return HttpOptions(
        route_prefix=section.text("routePrefix", "api").strip("/"),
        max_concurrent_requests=None if concurrent < 0 else concurrent,
        max_outstanding_requests=None if outstanding < 0 else outstanding,
    )


def _overrides(settings: Mapping[str, str]) -> dict[str, str]:
    lowered = {name.lower(): value for name, value in settings.items()}
    return {
        name.removeprefix(_OVERRIDE).replace("__", "."): value
        for name, value in lowered.items()
        if name.startswith(_OVERRIDE)
    }


class _Section:
    """One object of the file; keys are compared without regard to case, as .NET's configuration does."""

    def __init__(self, path: Path, prefix: str, content: Mapping[str, object], overrides: Mapping[str, str]) -> None:
        self._path = path
        self._prefix = prefix
        self._content = {key.lower(): value for key, value in content.items()}
        self._overrides = overrides

    def error(self, key: str, value: object, expected: str) -> HostJsonError:
        return HostJsonError(f"{self._path}: {self._prefix}{key} is {value!r}; expected {expected}.")

    def value(self, key: str) -> object:
        return self._overrides.get(f"{self._prefix}{key}".lower(), self._content.get(key.lower()))

    def section(self, *keys: str) -> "_Section":
        section = self
        for key in keys:
            content = section._content.get(key.lower(), {})
            if not isinstance(content, dict):
                raise section.error(key, content, "an object")
            section = _Section(self._path, f"{section._prefix}{key}.", content, self._overrides)
        return section

    def text(self, key: str, default: str) -> str:
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.error(key, value, "text")
        return value

    def texts(self) -> dict[str, str]:
        prefix = self._prefix.lower()
        overridden = {name.removeprefix(prefix): v for name, v in self._overrides.items() if name.startswith(prefix)}
        return {name: str(value) for name, value in {**self._content, **overridden}.items()}

    def integer(self, key: str, default: int, *, least: int, most: int | None = None) -> int:
        value = self.value(key)
        if value is None:
            return default
        expected = f"a whole number of at least {least}" + ("" if most is None else f" and at most {most}")
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise self.error(key, value, expected)
        try:
            number = int(value)
        except ValueError:
            raise self.error(key, value, expected) from None
        if number < least or (most is not None and number > most):
            raise self.error(key, value, expected)
        return number

    def seconds(self, key: str, default: float) -> float | None:
        """A .NET TimeSpan (``[d.]hh:mm:ss[.fff]``); ``-1`` is unbounded and gives ``None``."""
        value = self.value(key)
        if value is None:
            return default
        if str(value) == "-1":
            return None
        span = _TIME_SPAN.fullmatch(str(value))
        if span is None:
            raise self.error(key, value, 'a time span such as "00:05:00"')
        days, hours, minutes, seconds = (float(part or 0) for part in span.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
