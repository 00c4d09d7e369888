"""Forwards TCP connections, each direction closed when its own sender has finished."""

import asyncio
import contextlib

_CHUNK = 1 << 16
_CONNECT_SECONDS = 5.0


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, targets: list[tuple[str, int]]) -> None:
    """Joins a connection to the first target that accepts one; where none does, the connection is reset."""
    for host, port in targets:
        try:
            upstream = await asyncio.wait_for(asyncio.open_connection(host, port), _CONNECT_SECONDS)
        except (OSError, TimeoutError):
            continue
        break
    else:
        writer.transport.abort()
        return
    try:
        await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))
    except ConnectionError:
        writer.transport.abort()
        upstream[1].transport.abort()
    finally:
        for each in (upstream[1], writer):
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()
