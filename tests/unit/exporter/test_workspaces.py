"""A conversion's directory is gone when it is over, however it ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.workspace import temporary, workspace

PROGRAM = """
import sys, time
from pathlib import Path
from exporter.workspace import workspace
with workspace(Path(sys.argv[1])) as directory:
    (directory / "tmp").mkdir()
    print(directory, flush=True)
    time.sleep(60)
"""


def age(directory: Path) -> None:
    os.utime(directory, (1, 1))


def test_it_lies_beside_the_destination_and_goes_with_the_context(tmp_path: Path) -> None:
    with workspace(tmp_path / "out" / "1") as directory:
        assert directory.parent == tmp_path / "out"
    assert list((tmp_path / "out").iterdir()) == []


def test_it_goes_with_an_error_too(tmp_path: Path) -> None:
    def fail() -> None:
        with workspace(tmp_path / "1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_rights_that_were_taken_away_do_not_keep_it(tmp_path: Path) -> None:
    with workspace(tmp_path / "1") as directory:
        (directory / "closed" / "within").mkdir(parents=True)
        (directory / "closed").chmod(0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    destination = tmp_path / "1"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, destination], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as other:
        try:
            assert other.stdout is not None
            left = Path(other.stdout.readline().strip())
            age(left)
            with workspace(destination):
                assert left.is_dir()
        finally:
            other.send_signal(signal.SIGKILL)
    assert left.is_dir()
    with workspace(destination):
        assert not left.exists()


@pytest.mark.parametrize("touched", [True, False])
def test_a_directory_without_a_lock_is_removed_once_it_is_old(tmp_path: Path, touched: bool) -> None:
    left = tmp_path / ".slipway-export-abc"
    left.mkdir()
    make_old: Callable[[Path], None] = (lambda _: None) if touched else age
    make_old(left)
    with workspace(tmp_path / "1"):
        assert left.exists() is touched


def test_what_is_not_its_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".other").mkdir()
    age(tmp_path / ".other")
    with workspace(tmp_path / "1"):
        assert (tmp_path / ".other").is_dir()


def test_what_is_temporary_lies_among_the_machines_temporary_files_and_clears_up_after_killed_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / ".slipway-export-left"
    (left / "source").mkdir(parents=True)
    age(left)
    with temporary() as directory:
        assert list(tmp_path.iterdir()) == [directory]
    assert list(tmp_path.iterdir()) == []


def test_what_another_user_left_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [PermissionError]

    def flock(*_arguments: object) -> None:
        if refusals:
            raise refusals.pop()

    left = tmp_path / ".slipway-export-left"
    left.mkdir()
    (left / "lock").touch()
    age(left)
    monkeypatch.setattr("fcntl.flock", flock)
    with workspace(tmp_path / "1"):
        assert left.is_dir()
    assert list(tmp_path.iterdir()) == [left]
