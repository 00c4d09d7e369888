"""Forwarded TCP connections behave as direct ones: each side may finish before the other, and failures are seen."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from localcloud.kubelet.tcp import forward

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def forwarding(*targets: tuple[str, int]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a forwarder in front of ``targets``."""
    async with listening(lambda reader, writer: forward(reader, writer, list(targets))) as address:
        reader, writer = await asyncio.open_connection(*address)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads to the end, then says how much it was."""
    writer.write(str(len(await reader.read())).encode())
    writer.close()
    await writer.wait_closed()


DEAD = ("127.0.0.1", 1)


async def test_a_client_may_finish_sending_and_still_get_its_answer() -> None:
    async with listening(count) as target, forwarding(target) as (reader, writer), asyncio.timeout(20):
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        assert await reader.read() == b"1000000"


async def test_a_server_may_finish_sending_and_still_be_sent_to() -> None:
    received = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.write_eof()
        received.set_result(await reader.read())
        writer.close()
        await writer.wait_closed()

    async with listening(talk) as target, forwarding(target) as (reader, writer), asyncio.timeout(20):
        assert await reader.read() == b"hello"
        writer.write(b"still here")
        writer.write_eof()
        assert await received == b"still here"


async def test_a_target_that_refuses_is_passed_over() -> None:
    async with listening(count) as target, forwarding(DEAD, target) as (reader, writer), asyncio.timeout(20):
        writer.write_eof()
        assert await reader.read() == b"0"


async def test_without_a_target_the_connection_is_reset() -> None:
    async with forwarding(DEAD) as (reader, _), asyncio.timeout(20):
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_server_that_resets_its_connection_resets_the_clients() -> None:
    async def break_off(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with listening(break_off) as target, forwarding(target) as (reader, _), asyncio.timeout(20):
        with pytest.raises(ConnectionResetError):
            await reader.read()
