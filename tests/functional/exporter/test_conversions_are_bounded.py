"""What goes wrong in the converting process stays there: classified, cleaned up, and without effect on the next."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from exporter import (
    BadOptions,
    ConversionFailed,
    ExportError,
    ExportOptions,
    Limits,
    NotAModel,
    OutOfMemory,
    ScanRefused,
    ScanReport,
    Stage,
    TimedOut,
    WorkerUnavailable,
    export,
    scan,
    shutdown,
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def destination(tmp_path: Path) -> Iterator[Path]:
    """Where a servable would appear; nothing may be there or beside it after a failure."""
    yield tmp_path / "out" / "1"
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def servers_of(pid: int) -> list[int]:
    """The conversion processes among the children of ``pid``: the scan starts short-lived ones of its own."""
    return [child for child in children(pid) if b"exporter.server" in command_line(child)]


def server_of(pid: int) -> int:
    (server,) = servers_of(pid)
    return server


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def gone(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def await_true(condition: object, *, seconds: float = 30) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_lambda_is_refused_and_its_payload_does_not_run(sources: Path, mark: Path) -> None:
    with pytest.raises(ScanRefused, match="Lambda") as refused:
        scan(sources / "payload.keras", ExportOptions())
    assert refused.value.code == "carries_code"
    assert not mark.exists()


def test_a_lambda_that_came_past_the_scan_does_not_run_either(sources: Path, mark: Path, destination: Path) -> None:
    harmless = scan(sources / "two.keras", ExportOptions())
    payload = sources / "payload.keras"
    sha256 = subprocess.run(["sha256sum", payload], capture_output=True, text=True, check=True, timeout=30).stdout
    forged = replace(harmless, source=replace(harmless.source, path=payload), sha256=sha256.split()[0])
    with pytest.raises(ConversionFailed, match=r"Keras .* cannot load"):
        export(forged, destination)
    assert not mark.exists()


def test_a_file_that_changed_after_its_scan_is_not_converted(sources: Path, tmp_path: Path, destination: Path) -> None:
    copy = tmp_path / "two.keras"
    copy.write_bytes((sources / "two.keras").read_bytes())
    report = scan(copy, ExportOptions())
    copy.write_bytes((sources / "payload.keras").read_bytes())
    with pytest.raises(ConversionFailed, match="changed after it was scanned") as failed:
        export(report, destination)
    assert not failed.value.permanent


def test_a_truncated_file_is_no_model(sources: Path, tmp_path: Path) -> None:
    content = (sources / "digits.keras").read_bytes()
    (tmp_path / "digits.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(NotAModel, match="cut short") as refused:
        scan(tmp_path / "digits.keras", ExportOptions())
    assert refused.value.code == "truncated_archive"


@pytest.mark.parametrize(
    ("model", "options", "code", "says"),
    [
        ("digits", {"labels": ["a", "b"]}, "label_count", "2 labels.*needs 3 labels"),
        ("sigmoid", {"labels": ["a"]}, "label_count", "1 labels.*needs two labels"),
        ("two", {"labels": ["a", "b"]}, "no_image_classifier", "no image classifier"),
        ("digits", {"labels": ["a", "b", "c"], "image": {"height": 9}}, "image_size", "8 pixels, not 9"),
        ("digits", {"labels": ["a", "b", "c"], "image": {"scaling": "caffe"}}, "bad_options", "takes 1"),
    ],
)
def test_labels_and_options_that_do_not_fit_are_refused_with_the_reason(
    sources: Path, destination: Path, model: str, options: dict[str, object], code: str, says: str
) -> None:
    with pytest.raises(BadOptions, match=says) as refused:
        export(scan(sources / f"{model}.keras", ExportOptions.model_validate(options)), destination)
    assert (refused.value.code, refused.value.stage) == (code, Stage.TRACE)


def test_a_model_that_answers_nothing_but_nan_is_refused(sources: Path, destination: Path) -> None:
    with pytest.raises(ConversionFailed, match="nothing but NaN") as refused:
        export(scan(sources / "nan.keras", ExportOptions()), destination)
    assert (refused.value.code, refused.value.permanent) == ("answers_nan", True)


def test_a_conversion_that_takes_too_long_is_ended_and_may_be_tried_again(sources: Path, destination: Path) -> None:
    with pytest.raises(TimedOut) as ended:
        export(scan(sources / "two.keras", ExportOptions()), destination, limits=Limits(wall_seconds=0.05))
    assert not ended.value.permanent


def with_layer_of(megabytes: int, path: Path) -> ScanReport:
    """A file of a few hundred bytes that asks for one layer of so many megabytes, which takes a while to make."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, megabytes]}, "module": "keras.layers"},
        {"class_name": "Dense", "config": {"units": (1 << 20) // 4}, "module": "keras.layers"},
    ]
    config = {"class_name": "Sequential", "config": {"name": "large", "layers": layers}, "module": "keras"}
    weights = io.BytesIO()
    h5py.File(weights, "w").close()
    with zipfile.ZipFile(path / "large.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
    return scan(path / "large.keras", ExportOptions())


def test_a_conversion_that_needs_too_much_memory_is_ended_for_good(tmp_path: Path, destination: Path) -> None:
    with pytest.raises(OutOfMemory) as ended:
        export(with_layer_of(2000, tmp_path), destination, limits=Limits(memory_bytes=1 << 30))
    assert (ended.value.permanent, ended.value.stage) == (True, Stage.LOAD)


def test_a_servable_larger_than_a_file_may_be_is_not_written(sources: Path, destination: Path) -> None:
    with pytest.raises(ConversionFailed):
        export(scan(sources / "two.keras", ExportOptions()), destination, limits=Limits(file_bytes=8000))


@LINUX
def test_a_conversion_killed_from_outside_is_classified_and_the_next_one_works(
    sources: Path, destination: Path, tmp_path: Path
) -> None:
    def kill(stage: Stage) -> None:
        if stage is Stage.LOAD:
            os.kill(children(server_of(os.getpid()))[0], signal.SIGKILL)

    with pytest.raises(OutOfMemory, match="killed from outside") as ended:
        export(with_layer_of(400, tmp_path), destination, on_stage=kill)
    assert not ended.value.permanent
    assert export(scan(sources / "two.keras", ExportOptions()), tmp_path / "next").directory.is_dir()


@LINUX
def test_a_server_that_went_away_between_two_conversions_is_replaced(sources: Path, tmp_path: Path) -> None:
    report = scan(sources / "two.keras", ExportOptions())
    export(report, tmp_path / "1")
    server = server_of(os.getpid())
    os.kill(server, signal.SIGKILL)
    assert export(report, tmp_path / "2").directory.is_dir()
    assert server_of(os.getpid()) != server


def test_a_conversion_whose_turn_does_not_come_may_be_tried_again(
    sources: Path, tmp_path: Path, destination: Path
) -> None:
    report = scan(sources / "two.keras", ExportOptions())
    entered, may_go_on = threading.Event(), threading.Event()

    def hold(stage: Stage) -> None:
        entered.set()
        assert may_go_on.wait(60)

    first = threading.Thread(target=export, args=(report, tmp_path / "first"), kwargs={"on_stage": hold})
    first.start()
    try:
        assert entered.wait(60)
        with pytest.raises(WorkerUnavailable) as busy:
            export(report, destination, limits=Limits(turn_seconds=0.1))
    finally:
        may_go_on.set()
        first.join(timeout=60)
    assert (busy.value.code, busy.value.permanent) == ("busy", False)
    assert (tmp_path / "first" / "saved_model.pb").exists()


@LINUX
def test_conversions_of_all_threads_share_one_process_that_outlives_the_threads(sources: Path, tmp_path: Path) -> None:
    report = scan(sources / "two.keras", ExportOptions())
    servers: set[int] = set()

    def convert(number: int) -> None:
        export(report, tmp_path / str(number), on_stage=lambda _: servers.add(server_of(os.getpid())))

    for number in range(2):
        thread = threading.Thread(target=convert, args=(number,))
        thread.start()
        thread.join(timeout=120)
    assert len(servers) == 1
    assert all((tmp_path / str(number) / "saved_model.pb").exists() for number in range(2))


@LINUX
def test_the_process_has_none_of_the_callers_variables(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutdown()
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "hunter2")
    seen: list[bytes] = []

    def look(stage: Stage) -> None:
        server = server_of(os.getpid())
        for pid in [server, *children(server)]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the conversion may have ended meanwhile
                seen.append(Path(f"/proc/{pid}/environ").read_bytes())

    export(scan(sources / "two.keras", ExportOptions()), tmp_path / "1", on_stage=look)
    assert len(seen) >= 2
    assert all(b"hunter2" not in environment and b"PATH=" in environment for environment in seen)


@LINUX
def test_a_caller_that_fails_meanwhile_leaves_no_conversion_running(tmp_path: Path, destination: Path) -> None:
    seen: list[int] = []

    def fail(stage: Stage) -> None:
        server = server_of(os.getpid())
        seen.extend([server, *children(server)])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(with_layer_of(400, tmp_path), destination, on_stage=fail)
    assert len(seen) == 2
    await_true(lambda: all(map(gone, seen)))


@LINUX
def test_a_caller_that_is_killed_takes_the_process_and_its_files_along(sources: Path, tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from exporter import ExportOptions, export, scan
        def stop(stage):
            print(stage, flush=True)
            time.sleep(60)
        export(scan(Path(sys.argv[1]), ExportOptions()), Path(sys.argv[2]), on_stage=stop)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program, sources / "rescaling.keras", tmp_path / "out" / "1"],
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[3], text=True,
    ) as caller:  # fmt: skip
        try:
            assert caller.stdout is not None
            assert caller.stdout.readline() == "load\n"
            server = server_of(caller.pid)
        finally:
            caller.kill()
    await_true(lambda: gone(server))
    await_true(lambda: not (tmp_path / "out" / "1").exists() and list((tmp_path / "out").iterdir()) == [])


@LINUX
def test_a_caller_that_is_killed_while_the_process_starts_takes_it_along(tmp_path: Path, sources: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from exporter import ExportOptions, export, scan; "
        "export(scan(Path(sys.argv[1]), ExportOptions()), Path(sys.argv[2]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, sources / "two.keras", tmp_path / "1"], cwd=Path(__file__).parents[3]
    ) as caller:
        try:
            await_true(lambda: bool(servers_of(caller.pid)))
            server = server_of(caller.pid)
        finally:
            caller.kill()
    await_true(lambda: gone(server))


def test_a_destination_that_exists_is_left_alone(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(FileExistsError, match="never written over"):
        export(scan(sources / "two.keras", ExportOptions()), tmp_path / "1")
    assert list((tmp_path / "1").iterdir()) == []


def test_weights_that_do_not_fit_the_configuration_fail_in_the_load(
    sources: Path, tmp_path: Path, destination: Path
) -> None:
    with (
        zipfile.ZipFile(sources / "two.keras") as one,
        zipfile.ZipFile(sources / "digits.keras") as other,
        zipfile.ZipFile(tmp_path / "mixed.keras", "w") as mixed,
    ):
        mixed.writestr("config.json", one.read("config.json"))
        mixed.writestr("model.weights.h5", other.read("model.weights.h5"))
    with pytest.raises(ExportError) as failed:
        export(scan(tmp_path / "mixed.keras", ExportOptions()), destination)
    assert isinstance(failed.value, ConversionFailed)
    assert (failed.value.stage, failed.value.permanent) == (Stage.LOAD, True)
    assert str(tmp_path) not in str(failed.value)
