"""A process that is started ahead answers one request and no other."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.spare import Spare

PROGRAM = """
import json, os, socket, sys, time
with socket.socket(fileno=os.dup(0)) as channel:
    content, files, _, _ = socket.recv_fds(channel, 4096, 1)
if files:
    request = json.loads(content)
    time.sleep(request.get("seconds", 0))
    print(os.getpid(), os.pread(files[0], 100, 0).decode(), flush=True)
    os._exit(request.get("status", 0))
"""


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Spare]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    made = Spare(program)
    yield made
    made.close()


def ask(spare: Spare, file: Path, within: float = 60, **request: float) -> tuple[int, int, str]:
    file.write_text("content")
    with file.open("rb") as opened:
        status, output = spare.ask(request, opened, environment=dict(os.environ), seconds=within)
    process, content = output.split() or (b"0", b"")
    return status, int(process), content.decode()


def test_every_request_gets_the_file_and_a_process_of_its_own(spare: Spare, tmp_path: Path) -> None:
    answers = [ask(spare, tmp_path / "file") for _ in range(4)]
    assert {(status, content) for status, _, content in answers} == {(0, "content")}
    assert len({process for _, process, _ in answers}) == 4


def test_how_a_process_ended_is_told(spare: Spare, tmp_path: Path) -> None:
    assert [ask(spare, tmp_path / "file", status=status)[0] for status in (3, 0, 4)] == [3, 0, 4]


def test_only_who_has_asked_twice_keeps_a_process_waiting(spare: Spare, tmp_path: Path) -> None:
    ask(spare, tmp_path / "file")
    assert spare.waiting is None
    ask(spare, tmp_path / "file")
    waiting = spare.waiting
    assert waiting is not None
    assert ask(spare, tmp_path / "file")[1] == waiting


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_process_that_went_away_while_it_waited_is_replaced(spare: Spare, tmp_path: Path) -> None:
    for _ in range(2):
        ask(spare, tmp_path / "file")
    gone = spare.waiting
    assert gone is not None
    os.kill(gone, signal.SIGKILL)
    status, process, content = ask(spare, tmp_path / "file")
    assert (status, content) == (0, "content")
    assert process != gone


def test_a_request_that_takes_too_long_is_ended(spare: Spare, tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        ask(spare, tmp_path / "file", within=0.5, seconds=600)
    assert ask(spare, tmp_path / "file")[0] == 0


def test_closing_ends_the_process_that_waits(spare: Spare, tmp_path: Path) -> None:
    for _ in range(2):
        ask(spare, tmp_path / "file")
    waiting = spare.waiting
    assert waiting is not None
    spare.close()
    with pytest.raises(ProcessLookupError):
        os.kill(waiting, 0)
