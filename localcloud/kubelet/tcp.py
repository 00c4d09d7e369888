"""Forwards TCP connections, each direction closed when its own sender has finished."""

import asyncio
import contextlib
import socket
import struct

_CHUNK = 1 << 16
_CONNECT_SECONDS = 5.0
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing resets


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, targets: list[tuple[str, int]]) -> None:
    """Joins a connection to the first target that accepts one; where none does, or one side breaks off, it is reset."""
    for host, port in targets:
        try:
            from_target, to_target = await asyncio.wait_for(asyncio.open_connection(host, port), _CONNECT_SECONDS)
        except (OSError, TimeoutError):
            continue
        break
    else:
        _reset(writer)
        return
    try:
        await asyncio.gather(_copy(reader, to_target), _copy(from_target, writer))
    except ConnectionError:
        _reset(writer)
        _reset(to_target)
    finally:
        for each in (to_target, writer):
            each.close()
            with contextlib.suppress(ConnectionError):
                await each.wait_closed()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # it is closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
