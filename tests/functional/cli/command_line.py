"""How a command of the command line ended; and the file by which it finds a local cloud."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.functional.cli import fake_slipway


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Outcome]


def write_endpoints(folder: Path, url: str, storage: str = "UseDevelopmentStorage=true") -> None:
    """The file that a running local cloud keeps."""
    endpoints = {"functions_url": url, "function_key": fake_slipway.KEY, "storage_connection_string": storage}
    (folder / "endpoints.json").write_text(json.dumps(endpoints))
