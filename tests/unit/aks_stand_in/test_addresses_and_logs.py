"""Loopback addresses are claimed and given in turn; logs are read by tail and followed."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from localcloud.aks.options import parse
from localcloud.kubelet import AddressPool, LoopbackRange, LoopbackUnavailableError
from localcloud.kubelet.logs import ContainerLogs, View, follow, read
from localcloud.kubelet.mirror import RemoteBlob


def test_blobs_appear_as_they_were_uploaded_and_saved_model_last() -> None:
    first, second = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)
    blobs = [
        RemoteBlob("m/1/assets/a", "", second),
        RemoteBlob("m/1/saved_model.pb", "", second),
        RemoteBlob("m/1/variables/variables.index", "", second),
        RemoteBlob("m/1/z", "", first),
    ]
    names = [blob.name for blob in sorted(blobs, key=lambda blob: blob.order)]
    assert names == ["m/1/z", "m/1/assets/a", "m/1/variables/variables.index", "m/1/saved_model.pb"]


def test_a_released_address_is_not_the_next_one_given() -> None:
    pool = AddressPool(["a", "b", "c"])
    assert [pool.allocate(), pool.allocate()] == ["a", "b"]
    pool.release("a")
    assert [pool.allocate(), pool.allocate()] == ["c", "a"]


def test_an_exhausted_pool_says_so() -> None:
    pool = AddressPool(["a"])
    pool.allocate()
    with pytest.raises(LoopbackUnavailableError, match="in use"):
        pool.allocate()


def test_a_reserved_address_is_not_given() -> None:
    pool = AddressPool(["a", "b"])
    assert pool.reserve("a")
    assert not pool.reserve("a")
    assert not pool.reserve("elsewhere")
    assert pool.allocate() == "b"


def test_a_range_is_one_clouds_only() -> None:
    first = LoopbackRange.claim(None)
    try:
        with pytest.raises(LoopbackUnavailableError, match="another local cloud"):
            LoopbackRange.claim(first.prefix)
    finally:
        first.close()
    LoopbackRange.claim(first.prefix).close()


ENTRIES = b"".join(
    b"2026-11-23T12:00:0%d.000000Z stdout F %s\n" % (second, word)
    for second, word in enumerate((b"one", b"two", b"three"))
)
LAST_SECOND = datetime(2026, 11, 23, 12, 0, 2, tzinfo=UTC)


def test_a_view_of_a_log_has_a_tail_a_beginning_and_times(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(ENTRIES)
    assert read(log, View()) == b"one\ntwo\nthree\n"
    assert read(log, View(lines=2)) == b"two\nthree\n"
    assert read(log, View(lines=0)) == b""
    assert read(log, View(since=LAST_SECOND)) == b"three\n"
    assert read(log, View(lines=1, timestamps=True)) == b"2026-11-23T12:00:02.000000Z three\n"
    assert read(tmp_path / "none.log", View(5)) == b""


async def test_follow_gives_the_tail_and_what_comes_until_the_end(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(ENTRIES)
    running = True
    seen: list[bytes] = []
    first = asyncio.Event()

    async def look() -> None:
        async for chunk in follow(log, View(lines=1), lambda: running):
            seen.append(chunk)
            first.set()

    reader = asyncio.create_task(look())
    await first.wait()
    with log.open("ab") as file:
        file.write(b"2026-11-23T12:00:04.000000Z stdout F four\n")
    running = False
    await reader
    assert b"".join(seen) == b"three\nfour\n"


async def test_what_a_container_writes_is_kept_as_it_was(tmp_path: Path) -> None:
    """Carriage returns, long lines, and a last line without its end."""
    written = b"50%\r100%\n" + b"x" * 40_000 + b"\n\nlast"
    output = asyncio.StreamReader()
    output.feed_data(written)
    output.feed_eof()
    logs = ContainerLogs(tmp_path)
    await logs.keep(0, output)
    assert read(logs.path(0), View()) == written


async def test_the_logs_of_this_run_and_of_the_one_before_are_kept(tmp_path: Path) -> None:
    logs = ContainerLogs(tmp_path)
    for run in range(4):
        output = asyncio.StreamReader()
        output.feed_data(b"run %d\n" % run)
        output.feed_eof()
        await logs.keep(run, output)
    assert [read(logs.path(run), View()) for run in range(4)] == [b"", b"", b"run 2\n", b"run 3\n"]


def test_a_termination_message_is_the_end_of_the_log(tmp_path: Path) -> None:
    """At most 80 lines and 2048 bytes."""
    logs = ContainerLogs(tmp_path)
    lines = (f"2026-11-23T12:00:00.000000Z stdout F line {n} {'x' * 40}\n" for n in range(100))
    logs.path(0).write_text("".join(lines))
    message = logs.message(0)
    assert message.endswith(f"line 99 {'x' * 40}\n")
    assert len(message) == 2048


@pytest.mark.parametrize(
    "arguments",
    [["--gpu-nodes", "5"], ["--start-delay", "-1"], ["--images", "/nowhere.json"], ["--gpu-nodes", "some"]],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--data", "d", "--storage-connection-string", "s", "--ready-file", "r", *arguments])
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


def test_realistic_delays_are_minutes_and_can_be_changed_one_by_one() -> None:
    base = ["--data", "d", "--storage-connection-string", "s", "--ready-file", "r", "--realistic-delays"]
    options = parse([*base, "--node-join-delay", "1"])
    assert options.delays.scale_up > 60
    assert options.delays.node_join == 1
