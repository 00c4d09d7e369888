"""The client of the request benchmark, in a process of its own: closed-loop connections that send one request over and over.

Arguments: a JSON file with ``host``, ``port``, ``path``, ``headers`` and ``body_file``; connections; seconds; or, with
``--count``, requests. Prints one JSON object. It reads no more of an answer than it must, so that it costs little beside
what it measures; any answer that is not 200 ends it.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any


class Connection(asyncio.Protocol):
    """Sends the request again as soon as its answer is whole."""

    def __init__(self, request: bytes, more: "Rounds") -> None:
        self._request = request
        self._rounds = more
        self._buffer = bytearray()
        self._expected = -1
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(1 << 22)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Counts an answer once it is whole."""
        self._buffer += data
        if self._expected < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                self._fail(f"answered {bytes(self._buffer[:300])!r}")
                return
            at = head.find(b"content-length:")
            if at < 0:
                self._fail("answered without Content-Length")
                return
            self._expected = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) >= self._expected:
            now = time.perf_counter()
            self._rounds.latencies.append(now - self._sent)
            self._buffer.clear()
            self._expected = -1
            if self._rounds.over(now):
                self._finish()
            else:
                self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server must not end a connection."""
        if not self.done.done():
            self._fail(f"the connection ended: {exc}")

    def _send(self) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(why))


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
    request = request_bytes(target)
    rounds = Rounds(seconds, count)
    began = time.perf_counter()
    made = [
        await asyncio.get_running_loop().create_connection(
            lambda: Connection(request, rounds), target["host"], target["port"]
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
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
