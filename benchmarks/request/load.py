"""The client of the request benchmark, in a process of its own: closed-loop connections that send one request over and over.

Arguments: a JSON file with ``host``, ``port``, ``path``, ``headers`` and ``body_file``; connections; seconds; or, with
``--count``, requests. Prints one JSON object. It reads no more of an answer than it must, so that it costs little beside
what it measures; any answer that is not 200 ends it.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast


class Connection(asyncio.Protocol):
    """Sends the request again as soon as its answer is whole; on a new connection where the server ends this one."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._buffer = bytearray()
        self._expected = -1
        self._sent = 0.0
        self._closes = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(1 << 22)
        self._send(self._transport)

    def data_received(self, data: bytes) -> None:
        """Counts an answer once it is whole."""
        self._buffer += data
        if self._expected < 0 and not self._read_head():
            return
        if len(self._buffer) < self._expected or self._transport is None:
            return
        now = time.perf_counter()
        self._client.latencies.append(now - self._sent)
        self._buffer.clear()
        self._expected = -1
        if self._client.over(now):
            self._end(self._client.finish)
        elif self._closes:
            self._end(self._client.connect)
        else:
            self._send(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server must not end a connection before it has answered."""
        if self._transport is not None:
            self._client.fail(f"the connection ended: {exc}")

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        at = head.find(b"content-length:")
        if head[9:12] != b"200" or at < 0:
            self._end(lambda: self._client.fail(f"answered {bytes(self._buffer[:300])!r}"))
            return False
        self._expected = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        self._closes = b"connection: close" in head
        return True

    def _send(self, transport: asyncio.Transport) -> None:
        self._sent = time.perf_counter()
        transport.write(self._client.request)

    def _end(self, then: Callable[[], None]) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        then()


class Client:
    """One closed loop. ``latencies`` in seconds are shared by all."""

    def __init__(self, target: dict[str, Any], rounds: "Rounds") -> None:
        self.request = request_bytes(target)
        self.latencies = rounds.latencies
        self.over = rounds.over
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._address = target["host"], target["port"]
        self._connecting: asyncio.Task[Any] | None = None

    def connect(self) -> None:
        """Opens a connection, which begins to send."""
        made = asyncio.get_running_loop().create_connection(lambda: Connection(self), *self._address)
        self._connecting = asyncio.create_task(made)
        self._connecting.add_done_callback(self._connected)

    def finish(self) -> None:
        """It is enough."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, why: str) -> None:
        """It went wrong."""
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))

    def _connected(self, task: "asyncio.Task[Any]") -> None:
        if (error := task.exception()) is not None:
            self.fail(f"cannot connect: {error}")


class Rounds:
    """Latencies in seconds, and when it is enough."""

    def __init__(self, seconds: float | None, count: int | None) -> None:
        self.latencies: list[float] = []
        self._end = None if seconds is None else time.perf_counter() + seconds
        self._count = count

    def over(self, now: float) -> bool:
        """Whether no further request is to be sent."""
        if self._count is not None and len(self.latencies) >= self._count:
            return True
        return self._end is not None and now >= self._end


def request_bytes(target: dict[str, Any]) -> bytes:
    """The request as it goes over the wire."""
    body = Path(target["body_file"]).read_bytes()
    headers = {"Host": f"{target['host']}:{target['port']}", "Content-Length": str(len(body)), **target["headers"]}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target['path']} HTTP/1.1\r\n{head}\r\n".encode() + body


async def run(target: dict[str, Any], connections: int, seconds: float | None, count: int | None) -> dict[str, float]:
    """Loads the target; gives requests per second and latencies."""
    rounds = Rounds(seconds, count)
    clients = [Client(target, rounds) for _ in range(connections)]
    began = time.perf_counter()
    for client in clients:
        client.connect()
    await asyncio.gather(*(client.done for client in clients))
    taken = time.perf_counter() - began
    ordered = sorted(rounds.latencies)
    return {
        "requests": len(ordered),
        "rate": len(ordered) / taken,
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
    }


def main() -> None:
    """Runs and prints."""
    target = json.loads(Path(sys.argv[1]).read_text())
    by_count = len(sys.argv) > 4 and sys.argv[4] == "--count"
    amount = float(sys.argv[3])
    found = asyncio.run(run(target, int(sys.argv[2]), None if by_count else amount, int(amount) if by_count else None))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
