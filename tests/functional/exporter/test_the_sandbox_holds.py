"""What a stranger's code finds when it runs in the converting process after all: nothing to reach and nothing to take."""

import errno
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import VerifiedServable, worker

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own means are Linux's")
PAYLOAD = Path(__file__).parent / "sandbox_payload.py"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def attempted(place: Path) -> Iterator[dict[str, Any]]:
    """What the payload found, with a listener that it could reach and a process that it could kill."""
    for name in ("own", "outside"):
        (place / name).mkdir()
    (place / "source.keras").write_bytes(b"model")
    (place / "outside" / "secret").write_text("hunter2")
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as unix,
        subprocess.Popen(["sleep", "120"]) as victim,
    ):
        try:
            unix.bind(str(place / "unix"))
            unix.listen()
            done = subprocess.run(
                [
                    sys.executable, "-P", PAYLOAD, place / "own", place / "source.keras", place / "outside" / "secret",
                    place / "outside", str(listener.getsockname()[1]), place / "unix", str(victim.pid),
                ],
                capture_output=True, text=True, timeout=60, env=worker.environment(), check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            found: dict[str, Any] = json.loads(done.stdout)
            listener.settimeout(0)
            with pytest.raises(BlockingIOError):
                listener.accept()
            found["victim"] = victim.poll()
            yield found
        finally:
            victim.kill()


@LINUX
def test_what_is_denied_is_denied_and_what_a_conversion_needs_is_not(attempted: dict[str, Any]) -> None:
    sandbox, attempts = attempted["sandbox"], attempted["attempts"]
    if sandbox != {"network": "none", "processes": "none", "files": "confined"}:
        pytest.skip(f"this kernel lets a process give up only so much, and it is said: {sandbox}")
    refused = {name for name, number in attempts.items() if number in (errno.EPERM, errno.EACCES, errno.EXDEV)}
    allowed = {name for name, number in attempts.items() if number is None}
    assert allowed == {name for name in attempts if name.startswith("allowed: ")}
    assert refused == attempts.keys() - allowed


@LINUX
def test_no_attempt_leaves_a_mark(attempted: dict[str, Any], place: Path) -> None:
    if attempted["sandbox"]["files"] == "confined":
        assert [file.name for file in (place / "outside").iterdir()] == ["secret"]
        assert (place / "outside" / "secret").read_text() == "hunter2"
    assert not (place / "own" / "mark").exists()
    assert attempted["victim"] is None


@LINUX
def test_the_environment_has_nothing_of_the_callers(attempted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "hunter2")
    monkeypatch.setenv("AzureWebJobsStorage", "AccountKey=hunter2")
    assert "hunter2" not in json.dumps(worker.environment())
    assert not [name for name in attempted["variables"] if "AZURE" in name.upper() or "SLIPWAY" in name.upper()]


@LINUX
def test_a_servable_tells_what_its_conversion_could_reach(
    attempted: dict[str, Any], servables: dict[str, VerifiedServable]
) -> None:
    for servable in servables.values():
        assert servable.manifest.sandbox is not None
        assert servable.manifest.sandbox.model_dump() == attempted["sandbox"]
