"""Measures and prints: requests per second against each peer, latency added to the upstream's, memory, idle and slow clients.

Each figure is the median of rounds in which all servers take turns, so that a noisy moment strikes them alike. All run at
once, but only one is asked at a time; each is one process as its makers start it (LitServe and BentoML add processes of their
own). The client, the upstream and the server share the machine's cores.
"""

import asyncio
import base64
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.request import clients, servers

_JPEG_BYTES = 130_000
_CONNECTIONS = (1, 8, 32)
_SECONDS = 2.0
_ROUNDS = 3
_LATENCY_REQUESTS = 3000
_SOAK_REQUESTS = int(os.environ.get("BENCH_REQUESTS", "100000"))
_PEERS = {"aiohttp": 1.2, "fastapi": 2.0, "flask": 2.0, "kserve": 2.0, "litserve": 2.0, "bentoml": 2.0}
_NAMES = {
    "aiohttp": "aiohttp + aiohttp", "fastapi": "FastAPI + httpx", "flask": "Flask + requests",
    "kserve": "KServe transformer", "litserve": "LitServe", "bentoml": "BentoML",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where the client sends what."""

    file: Path

    @classmethod
    def write(cls, folder: Path, name: str, port: int, path: str, headers: Mapping[str, str], body: Path) -> "Target":
        """Leaves it for the client's process to read."""
        content = {"host": "127.0.0.1", "port": port, "path": path, "headers": dict(headers), "body_file": str(body)}
        file = folder / f"{name}.json"
        file.write_text(json.dumps(content))
        return cls(file)


async def load(target: Target, connections: int, *, seconds: float = 0.0, count: int = 0) -> dict[str, float]:
    """Runs the client in a process of its own."""
    amount = [str(count), "--count"] if count else [str(seconds)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.request.load", str(target.file), str(connections), *amount,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=servers.ROOT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60 + seconds + count / 100):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(errors.decode()[-600:].strip().rpartition("\n")[2])
    found: dict[str, float] = json.loads(output)
    return found


def jpeg(folder: Path) -> Path:
    """130 KB that begin as a JPEG does; nothing in this benchmark decodes them."""
    head = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0001108012c019003012200021101031101ffda000c03")
    file = folder / "cat.jpg"
    file.write_bytes(head + os.urandom(_JPEG_BYTES - len(head)))
    return file


async def compare(only: Sequence[str]) -> None:
    """Everything."""
    servers.environment()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        image = jpeg(folder)
        encoded = base64.b64encode(image.read_bytes()).decode()
        async with AsyncExitStack() as stack:
            upstream_port = await stack.enter_async_context(servers.upstream(folder / "nginx"))
            port, key = await stack.enter_async_context(servers.slipway(upstream_port, folder))
            raw = {"Content-Type": "image/jpeg", "Accept": "*/*", "User-Agent": "bench"}
            as_json = {**raw, "Content-Type": "application/json"}
            ours = Target.write(folder, "slipway", port, "/api/classify/bench", {**raw, "x-functions-key": key}, image)
            (folder / "serving.json").write_bytes(_serving_body(encoded))
            direct = Target.write(folder, "direct", upstream_port, servers.PREDICT, as_json, folder / "serving.json")
            print("Requests per second, 130 KB JPEG, medians; Slipway through the local Functions host\n")
            await load(ours, 8, seconds=1.0)
            peers = [name for name in _PEERS if not only or "peers" in only or name in only]
            if peers:
                (folder / "instances.json").write_text(json.dumps({"instances": [{"b64": encoded}]}))
                (folder / "image.json").write_text(json.dumps({"image": encoded}))
                for peer in peers:
                    await _against(peer, _PEERS[peer], ours, upstream_port, raw, as_json, folder, image)
            if not only or "latency" in only:
                await _latency(ours, direct)
            if not only or "memory" in only:
                await _memory(ours, port)
            if not only or "clients" in only:
                await clients.idle_and_slow(ours.file, port, load=lambda: load(ours, 1, count=1000))


async def _against(
    peer: str, target: float, ours: Target, upstream_port: int, raw: Mapping[str, str], as_json: Mapping[str, str],
    folder: Path, image: Path,
) -> None:  # fmt: skip
    try:
        async with servers.peer(peer, upstream_port, folder) as port:
            match peer:
                case "kserve":
                    path, body = "/v1/models/bench:predict", folder / "instances.json"
                    theirs = Target.write(folder, peer, port, path, as_json, body)
                case "litserve":
                    theirs = Target.write(folder, peer, port, "/classify", as_json, folder / "image.json")
                case _:
                    theirs = Target.write(folder, peer, port, "/classify", raw, image)
            await load(theirs, 8, seconds=1.0)
            for connections in _CONNECTIONS:
                rates = [
                    [(await load(one, connections, seconds=_SECONDS))["rate"] for one in (ours, theirs)]
                    for _ in range(_ROUNDS)
                ]
                mine, other = (statistics.median(column) for column in zip(*rates, strict=True))
                ratio = statistics.median(row[0] / row[1] for row in rates)
                verdict = "met" if ratio >= target else f"short by {target - ratio:.2f}"
                print(
                    f"{_NAMES[peer]:20} {connections:3} connections  {ratio:5.2f} ×  (≥ {target})  {verdict:14} "
                    f"{mine:6.0f} : {other:6.0f}", flush=True,
                )  # fmt: skip
    except (RuntimeError, TimeoutError) as error:
        print(f"{_NAMES[peer]:20} could not be measured: {str(error) or 'it did not start in time'}", flush=True)


async def _latency(ours: Target, direct: Target) -> None:
    pairs = [[await load(one, 1, count=_LATENCY_REQUESTS) for one in (ours, direct)] for _ in range(_ROUNDS)]
    print()
    for which, bound in (("p50", 0.5), ("p99", 3.0)):
        added = statistics.median((mine[which] - theirs[which]) * 1000 for mine, theirs in pairs)
        total = statistics.median(mine[which] * 1000 for mine, _ in pairs)
        verdict = "met" if added <= bound else f"over by {added - bound:.2f} ms"
        print(
            f"added latency {which}, 1 connection   {added:5.2f} ms  (≤ {bound} ms)  {verdict}   of {total:.2f} ms",
            flush=True,
        )


async def _memory(ours: Target, port: int) -> None:
    await load(ours, 32, count=_SOAK_REQUESTS // 10)
    before = clients.memory_of_listener(port)
    await load(ours, 32, count=_SOAK_REQUESTS)
    after = clients.memory_of_listener(port)
    verdict = "flat" if after < before * 1.05 else "grows"
    print(f"\nmemory over {_SOAK_REQUESTS} requests   {before:.0f} → {after:.0f} MiB  {verdict}", flush=True)


def _serving_body(encoded: str) -> bytes:
    document: dict[str, Any] = {"signature_name": "classify_image", "inputs": {"image_bytes": [{"b64": encoded}]}}
    return json.dumps(document, separators=(",", ":")).encode()


def main(only: Sequence[str] = ()) -> None:
    """Runs it; ``only``: some of ``peers`` (or their names), ``latency``, ``memory``, ``clients``."""
    asyncio.run(compare(only))


if __name__ == "__main__":
    main(sys.argv[1:])
