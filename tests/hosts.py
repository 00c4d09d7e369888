"""A Functions host around a small app, for tests: started as the local cloud starts it, seen by what functions record."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.process import spawn, stop

DEADLINE_SECONDS = 40.0

# What every sample app begins with: its functions tell the test what they saw by a line in a file.
_PRELUDE = """
import asyncio, json, logging, os, time
import azure.functions as func
import azurefunctions.extensions.bindings.blob as blob

app = func.FunctionApp()

def record(**fields):
    with open(os.environ["RECORD"], "a") as file:
        file.write(json.dumps(fields) + "\\n")
"""


async def until(look: Callable[[], bool], *, what: str) -> None:
    """Waits until ``look`` is true."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
    while not look():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


def write_app(folder: Path, source: str, host_json: Mapping[str, object] | None = None) -> Path:
    """A Function App of ``source`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(_PRELUDE + source)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}))
    return folder


@dataclass
class HostProcess:
    """One run of the host; ``folder`` has its app, data, log and record, and may be used for the next run."""

    folder: Path
    process: Process

    @property
    def log(self) -> str:
        """Everything that it has written."""
        return (self.folder / "host.log").read_text()

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the functions have recorded, in order."""
        path = self.folder / "records.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def ready(self) -> dict[str, str]:
        """The ready file."""
        content: dict[str, str] = json.loads((self.folder / "ready.json").read_text())
        return content

    async def recorded(self, count: int) -> list[dict[str, Any]]:
        """Waits for ``count`` records."""
        await until(lambda: len(self.records) >= count, what=f"{count} records; the log is:\n{self.log}")
        return self.records

    async def stop(self) -> int:
        """Ends it by SIGTERM; gives its exit status."""
        return await stop(self.process, grace_seconds=20)


StartHost = Callable[..., Awaitable[HostProcess]]


async def start(
    folder: Path, storage: str, settings: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> HostProcess:
    """Starts a host on ``folder/app``; it may not be ready yet."""
    process = await spawn(
        [
            sys.executable, "-m", "localcloud.functions_host", "--app", str(folder / "app"),
            "--data", str(folder / "data"), "--ready-file", str(folder / "ready.json"),
            "--blob-poll-seconds", "0.2", "--queue-poll-seconds", "0.2", *arguments,
        ],
        log=folder / "host.log",
        env={
            **os.environ,
            "AzureWebJobsStorage": storage,
            "RECORD": str(folder / "records.jsonl"),
            **(settings or {}),
        },
    )  # fmt: skip
    return HostProcess(folder, process)


async def until_ready(host: HostProcess) -> HostProcess:
    """Waits until it listens."""
    await until(
        lambda: (host.folder / "ready.json").exists() or host.process.returncode is not None, what="the ready file"
    )
    assert host.process.returncode is None, host.log
    return host
