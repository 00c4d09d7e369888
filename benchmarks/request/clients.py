"""Clients that are slow or idle, and what they cost the others."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.request.load import request_bytes

_IDLE = 1000
_DRIPS = 50
_DRIP_SECONDS = 0.2


async def idle_and_slow(target_file: Path, port: int, load: Callable[[], Awaitable[dict[str, float]]]) -> None:
    """Holds idle keep-alive clients, then a client that drips its body; measures another client meanwhile."""
    request = request_bytes(json.loads(target_file.read_text()))
    alone = await load()
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(_IDLE)]
    try:
        for reader, writer in idle:  # each has been served once, and stays
            writer.write(request)
            await _answer(reader)
        beside = await load()
        held = sum(not reader.at_eof() for reader, _ in idle)
        again = 0
        for reader, writer in idle:
            writer.write(request)
            again += await _answer(reader)
    finally:
        for _, writer in idle:
            writer.close()
    print(
        f"\nidle keep-alive clients   {held} of {_IDLE} held, {again} served again; "
        f"p50 beside them {beside['p50'] * 1e3:.2f} ms, alone {alone['p50'] * 1e3:.2f} ms", flush=True,
    )  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    drip = asyncio.create_task(_drip(request, reader, writer))
    beside = await load()
    await drip
    print(
        f"one slow client   took {time.perf_counter() - began:.1f} s; meanwhile others: "
        f"p50 {beside['p50'] * 1e3:.2f} ms, p99 {beside['p99'] * 1e3:.2f} ms; alone p99 {alone['p99'] * 1e3:.2f} ms",
        flush=True,
    )


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


async def _drip(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = len(request) // _DRIPS + 1
    for at in range(0, len(request), size):
        writer.write(request[at : at + size])
        await writer.drain()
        await asyncio.sleep(_DRIP_SECONDS)
    await _answer(reader)
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n", 1)[0])
    await reader.readexactly(length)
    return head.startswith(b"http/1.1 200")
