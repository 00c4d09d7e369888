"""What a function of the app is to the host: its trigger, its parameters, how it is called."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

AuthLevel = Literal["anonymous", "function", "admin"]


@dataclass(frozen=True)
class HttpTrigger:
    """``methods`` in upper case; ``None``: every method."""

    parameter: str
    route: str
    methods: frozenset[str] | None
    auth_level: AuthLevel


@dataclass(frozen=True)
class BlobTrigger:
    """``blob_pattern`` matches a blob's name whole; a parameter in braces matches across slashes, as on Azure."""

    parameter: str
    container: str
    blob_pattern: re.Pattern[str]
    connection: str
    event_grid: bool


@dataclass(frozen=True)
class QueueTrigger:
    """A storage queue."""

    parameter: str
    queue: str
    connection: str


@dataclass(frozen=True)
class TimerTrigger:
    """``schedule``: NCRONTAB of six fields, seconds first (or five, without seconds)."""

    parameter: str
    schedule: str
    run_on_startup: bool
    use_monitor: bool


Trigger = HttpTrigger | BlobTrigger | QueueTrigger | TimerTrigger


@dataclass(frozen=True)
class Function:
    """One function of the app, validated. ``parameter_type`` is the trigger parameter's annotation, if it has one."""

    name: str
    call: Callable[..., object]
    is_async: bool
    trigger: Trigger
    parameter_type: object | None
    takes_context: bool
    directory: str

    @property
    def id(self) -> str:
        """The name under which receipts, poison messages and the webhook know it."""
        return f"Host.Functions.{self.name}"


def blob_pattern(path: str) -> tuple[str, re.Pattern[str]]:
    """Splits ``container/some/{name}.ext`` into the container and a pattern for the blob's name.

    Raises:
        ValueError: the container is missing or has a parameter in it.
    """
    container, _, blob = path.strip("/").partition("/")
    if not container or "{" in container:
        raise ValueError(f"the path {path!r} does not begin with a container's name")
    parts = re.split(r"\{([^{}/]+)\}", blob or "{name}")
    pattern = "".join(re.escape(part) if index % 2 == 0 else "(.+)" for index, part in enumerate(parts))
    return container, re.compile(pattern, re.DOTALL)
