"""Clients that are slow or idle, and what they cost the others."""

import asyncio
import contextlib
import json
import statistics
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks.request.load import request_bytes

Load = Callable[[], Awaitable[dict[str, float]]]

_IDLE = 1000
_SLOW = 20
_DRIP = 100  # bytes
_DRIP_SECONDS = 0.2
_ROUNDS = 3
_MORE_SECONDS = 0.001


async def idle_and_slow(target_file: Path, port: int, load: Load) -> None:
    """Holds idle keep-alive clients, then clients that drip their bodies; measures another client beside them and alone."""
    request = request_bytes(json.loads(target_file.read_text()))
    before = await _rounds(load)
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(_IDLE)]
    try:
        for reader, writer in idle:  # each has been served once, and stays
            writer.write(request)
            await _answer(reader)
        beside = await _rounds(load)
        held = sum(not reader.at_eof() for reader, _ in idle)
        again = 0
        for reader, writer in idle:
            writer.write(request)
            again += await _answer(reader)
    finally:
        for _, writer in idle:
            writer.close()
    alone = await _rounds(load)
    kept = "met" if held == again == _IDLE else "not met"
    print(f"\n{_IDLE} idle keep-alive clients   {held} held, {again} served again  {kept}", flush=True)
    _compare("beside them", beside, (before, alone))
    over = asyncio.Event()
    drips = [
        asyncio.create_task(_drip(request, over, *await asyncio.open_connection("127.0.0.1", port)))
        for _ in range(_SLOW)
    ]
    beside = await _rounds(load)
    over.set()
    answered = sum(await asyncio.gather(*drips))
    after = await _rounds(load)
    print(
        f"{_SLOW} clients that send {_DRIP} bytes every {_DRIP_SECONDS} s   {answered} answered in the end",
        flush=True,
    )
    _compare("beside them", beside, (alone, after))


async def _rounds(load: Load) -> dict[str, float]:
    """The median of each figure over rounds."""
    found = [await load() for _ in range(_ROUNDS)]
    return {which: statistics.median(figures[which] for figures in found) for which in ("p50", "p99")}


def _compare(what: str, beside: dict[str, float], alone: Sequence[dict[str, float]]) -> None:
    """Prints a client's latencies beside others, against alone, before and after."""
    base = {which: statistics.mean(figures[which] for figures in alone) for which in ("p50", "p99")}
    met = beside["p50"] <= 1.2 * base["p50"] and beside["p99"] <= base["p99"] + _MORE_SECONDS
    shown = ", ".join(f"{which} {beside[which] * 1e3:.2f} ms (alone {base[which] * 1e3:.2f})" for which in base)
    print(f"  a client {what}: {shown}  (p50 ≤ 1.2 ×, p99 ≤ + 1 ms)  {'met' if met else 'not met'}", flush=True)


def memory_of_listener(port: int) -> float:
    """Resident memory in MiB of the process that listens at the port (Linux)."""
    wanted = f":{port:04X}"
    inodes = {
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[1].endswith(wanted) and line.split()[3] == "0A"
    }
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(
                f"socket:[{inode}]" == str(link.readlink()) for link in (folder / "fd").iterdir() for inode in inodes
            ):
                status = (folder / "status").read_text()
                return int(status.split("VmRSS:")[1].split()[0]) / 1024
    raise RuntimeError(f"nothing that can be looked at listens at port {port}")


async def _drip(
    request: bytes, over: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Sends a request bit by bit, and what is left of it once it is over; whether it was answered."""
    for at in range(0, len(request), _DRIP):
        writer.write(request[at:] if over.is_set() else request[at : at + _DRIP])
        await writer.drain()
        if over.is_set():
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _DRIP_SECONDS)
    answered = await _answer(reader)
    writer.close()
    return answered


async def _answer(reader: asyncio.StreamReader) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    return head.startswith(b"http/1.1 200")
