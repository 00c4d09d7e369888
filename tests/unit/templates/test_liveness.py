"""The liveness probe's own command, run by bash: alive is a server that answers and whose mount can be read."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.unit.templates.test_templates_are_valid import find, rendered


class ModelServer(BaseHTTPRequestHandler):
    """Answers the status of version 3 of "cats" with ``status``, and anything else with 404."""

    status: ClassVar[int] = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/v1/models/cats/versions/3" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(ModelServer, "status", 200)
    with HTTPServer(("127.0.0.1", 0), ModelServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(30)


def alive(port: int, mount: Path, *, patience: float = 30) -> bool:
    """Runs the probe with this port and mount in the place of the pod's."""
    probe = find(rendered(), "Deployment")["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    *shell, script = probe["exec"]["command"]
    script = script.replace("/8501", f"/{port}").replace(" /models ", f" {mount} ")
    done = subprocess.run(
        [*shell, script], env={"POD_IP": "127.0.0.1", "PATH": "/usr/bin:/bin"}, timeout=patience, check=False,
        capture_output=True,
    )  # fmt: skip
    return done.returncode == 0


def test_a_server_that_answers_with_its_mount_in_place_lives(port: int, tmp_path: Path) -> None:
    assert alive(port, tmp_path)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_server_that_answers_otherwise_does_not(
    port: int, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelServer, "status", status)
    assert not alive(port, tmp_path)


def test_without_its_mount_it_does_not(port: int, tmp_path: Path) -> None:
    """A dead blobfuse answers each look with an error, as a path that is not there does."""
    assert not alive(port, tmp_path / "gone")


def test_a_server_that_is_gone_does_not(port: int, tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), ModelServer) as other:
        free = other.server_port
    assert not alive(free, tmp_path)


def test_a_server_that_accepts_and_says_nothing_is_waited_for_by_the_kubelet(tmp_path: Path) -> None:
    """The command itself waits; the probe's timeoutSeconds end it."""
    with HTTPServer(("127.0.0.1", 0), ModelServer) as silent, pytest.raises(subprocess.TimeoutExpired):
        alive(silent.server_port, tmp_path, patience=1)
