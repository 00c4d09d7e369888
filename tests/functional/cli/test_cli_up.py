"""``slipway up``: a whole local cloud in the foreground."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import urllib3

from tests.functional.cli.command_line import Run

READY_SECONDS = 120


@contextlib.contextmanager
def _up(data: Path) -> Iterator[subprocess.Popen[str]]:
    code = "from deployer.cli import main; main()"
    arguments = [sys.executable, "-c", code, "--data", str(data), "up", "--json"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(READY_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


def _processes_of(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder, on Linux."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in line:
                found.append(line)
    return found


def test_it_prints_where_the_cloud_is_and_ends_with_all_it_started(tmp_path: Path) -> None:
    data = tmp_path / "cloud"
    with _up(data) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = ""
        while (line := process.stdout.readline()) and line != "}\n":
            printed += line
        assert line, process.stderr.read()
        endpoints = json.loads(printed + line)
        assert endpoints == json.loads((data / "endpoints.json").read_text())
        health = urllib3.request("GET", f"{endpoints['functions_url']}/api/health", timeout=30, retries=False)
        assert health.json()["status"] == "ok"
        assert _processes_of(data)
        process.send_signal(signal.SIGINT)
        assert process.wait(READY_SECONDS) == 0
        assert process.stdout.read() == ""
        assert "functions" in process.stderr.read().lower()
    assert not (data / "endpoints.json").exists()
    assert _processes_of(data) == []


def test_a_folder_in_use_is_told_and_left_alone(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        ended = run("--data", tmp_path, "up")
    assert ended.status == 1
    assert "Another local cloud uses" in ended.err
