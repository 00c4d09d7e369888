"""A model server process for tests: ``python -m localcloud.tf_serving`` on a loopback address of its own."""

import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTDATA = Path(__file__).parents[4] / "shared" / "tf_serving_testdata"
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def error(self) -> str:
        message: str = self.json["error"]
        return message


@dataclass(frozen=True)
class ModelServer:
    """A running server."""

    process: subprocess.Popen[bytes]
    address: str
    port: int
    log: Path

    def request(self, method: str, path: str, body: bytes | str | None = None) -> Reply:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=30)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return Reply(response.status, dict(response.getheaders()), response.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.request("GET", f"/v1/models/{path}")

    def post(self, path: str, body: object) -> Reply:
        return self.request("POST", f"/v1/models/{path}", body if isinstance(body, bytes | str) else json.dumps(body))

    def states(self, model: str) -> dict[str, str]:
        reply = self.get(model)
        return {v["version"]: v["state"] for v in reply.json.get("model_version_status", [])}

    def wait_for(self, model: str, **states: str) -> None:
        """Until the versions named v1=…, v2=… have these states."""
        self.wait_listening()
        wanted = {version.removeprefix("v"): state for version, state in states.items()}
        self.wait_until(lambda: wanted.items() <= self.states(model).items())

    def wait_until(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not true():
            assert self.process.poll() is None, f"the server ended: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"not in {WAIT_SECONDS} s: {self.log.read_text()}"
            time.sleep(0.05)

    def wait_listening(self) -> None:
        def listening() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((self.address, self.port)) == 0

        self.wait_until(listening)


@contextlib.contextmanager
def model_server(log: Path, *flags: str, mounts: Mapping[str, Path] | None = None) -> Iterator[ModelServer]:
    """Starts a server that listens; ends it with the block."""
    address = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])  # noqa: S311
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "LOCALCLOUD_BIND_ADDRESS": address,
        "LOCALCLOUD_MOUNTS": json.dumps({mount: str(folder) for mount, folder in (mounts or {}).items()}),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "localcloud.tf_serving", f"--rest_api_port={port}", *flags],
            env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    server = ModelServer(process, address, port, log)
    try:
        yield server
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)
