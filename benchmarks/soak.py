"""``make soak``: load on the local cloud for ten minutes (``SOAK=SECONDS``), with rollouts and a killed model server in it.

    train two versions → serve v1 → [load | roll v2, v1, v2 … | kill the model server in between] → summary

What counts as wrong is an answer that its version does not give when it is asked in peace, or one of a version that never
served. What counts as explained is a failure in the documented shape while a killed server was away, which ends with the first
answer to a request that began after the kill, and until its breaker has closed; a rollout must not cost one. Exit status 0:
nothing wrong, nothing unexplained. Not for the test suite, for an evening.
"""

import asyncio
import itertools
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from azure.storage.blob import BlobServiceClient

from benchmarks.trained import trained
from demo.client import Client, until_so
from demo.digits import NAMES, TRAINING, Digit, load, png
from localcloud.cloud import LocalCloud, Options

MODEL = "digits"
_SETTINGS = {
    "SLIPWAY_IDLE__ENABLED": "false", "SLIPWAY_ROLLOUT__LOOK_AGAIN_SECONDS": "1", "SLIPWAY_ROLLOUT__DRAIN_SECONDS": "6",
}  # fmt: skip
_IMAGES = 20
_CLIENTS = 8
_PAUSE = 0.05
_ROLLOUT_SECONDS = 180.0
_AFTER_KILL = 45.0  # between a kill and the next rollout
_LONGEST_AWAY = 120.0  # that a killed server may take to be started anew and to load its model, on a busy machine
_BREAKER = 6.0  # its breaker opens for 5 s, and may do so just before it is back
_EXPLAINED = frozenset({"model_server", "breaker_open", "too_many_requests", "waking"})
_TOLERANCE = 1e-3  # batches of other sizes round otherwise


@dataclass
class Kill:
    """A model server that was killed, and when one answered again. Times by the monotonic clock."""

    at: float
    back: float | None = None

    def explains(self, failed: float) -> bool:
        """Whether a failure at this time is its doing."""
        away = _LONGEST_AWAY if self.back is None else min(self.back - self.at, _LONGEST_AWAY)
        return self.at <= failed <= self.at + away + _BREAKER


@dataclass
class Findings:
    """What became of the requests. Times by the monotonic clock."""

    answers: Counter[int] = field(default_factory=Counter)
    waited: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    rollouts: list[tuple[int, float]] = field(default_factory=list)

    def answered(self, began: float, now: float) -> None:
        """A request that began and ended then was answered: what was killed before it began is back."""
        for kill in self.kills:
            if kill.back is None and kill.at < began:
                kill.back = now

    def explained(self, kill: Kill) -> list[str]:
        """The codes of the failures that this kill accounts for."""
        return [code for at, code in self.failures if code in _EXPLAINED and self._kill_of(at) is kill]

    def unexplained(self) -> list[str]:
        """Failures that no kill accounts for."""
        found = []
        for at, code in self.failures:
            if code in _EXPLAINED and self._kill_of(at) is not None:
                continue
            last = max((kill.at for kill in self.kills if kill.at <= at), default=None)
            found.append(f"{code}, without a kill" if last is None else f"{code}, {at - last:.1f} s after a kill")
        return found

    def _kill_of(self, at: float) -> Kill | None:
        return next((kill for kill in reversed(self.kills) if kill.explains(at)), None)


class Soak:
    """One run."""

    def __init__(self, client: Client, storage: str, models: dict[int, bytes]) -> None:
        self._client = client
        self._storage = storage
        self._models = models
        self._digits: Sequence[Digit] = load()[TRAINING : TRAINING + _IMAGES]
        self._truth: dict[tuple[int, int], tuple[str, float]] = {}
        self.findings = Findings()

    async def run(self, seconds: float) -> None:
        """All of it."""
        await self._drop(f"{MODEL}.labels.txt", "\n".join(NAMES).encode())
        for version in (1, 2, 1):
            await self._roll(version)
            await self._learn(version)
        end = time.monotonic() + seconds
        clients = [asyncio.create_task(self._ask(end)) for _ in range(_CLIENTS)]
        troubles = asyncio.create_task(self._trouble(end))
        await asyncio.gather(troubles, *clients)

    async def _trouble(self, end: float) -> None:
        """A rollout, a kill, a rollout, a kill …, with some peace after each."""
        for number in itertools.count(2):
            await asyncio.sleep(min(10.0, max(0.0, end - time.monotonic())))
            if end - time.monotonic() < 2 * _AFTER_KILL:
                return
            await self._roll(1 + (number + 1) % 2)
            await asyncio.sleep(10.0)
            self.findings.kills.append(Kill(time.monotonic()))
            killed = kill_model_server()
            print(f"killed model server {killed}", flush=True)
            await asyncio.sleep(_AFTER_KILL)

    async def _roll(self, version: int) -> None:
        began = time.monotonic()
        await self._drop(f"{MODEL}.keras", self._models[version])

        async def serves() -> bool:
            model = await self._client.model(MODEL)
            return model is not None and model["version"] == version and model["rollout"] is None

        await until_so(f"v{version} to serve", serves, seconds=_ROLLOUT_SECONDS)
        self.findings.rollouts.append((version, time.monotonic() - began))
        print(f"v{version} serves, {time.monotonic() - began:.1f} s after its drop", flush=True)

    async def _learn(self, version: int) -> None:
        """What this version says of each image when asked in peace."""
        for place, digit in enumerate(self._digits):
            answer = await self._client.classify(MODEL, png(digit), wait_seconds=30)
            if answer.version != version:
                raise SystemExit(f"v{version} was to answer, and it was: {answer.status} {answer.body}")
            self._truth.setdefault((version, place), answer.classes[0])

    async def _ask(self, end: float) -> None:
        while time.monotonic() < end:
            place = random.randrange(_IMAGES)  # noqa: S311  (no secret)
            began = time.monotonic()
            try:
                answer = await self._client.classify(MODEL, png(self._digits[place]))
            except (aiohttp.ClientError, TimeoutError) as error:
                self.findings.failures.append((began, repr(error)))
                continue
            if answer.status == 200:
                self._judge(place, answer.version or 0, answer.classes[0])
                self.findings.answered(began, time.monotonic())
                self.findings.waited.append(answer.seconds)
            else:
                self.findings.failures.append(
                    (time.monotonic(), answer.body.get("error", {}).get("code", str(answer.status)))
                )
                await asyncio.sleep(0.2)
            await asyncio.sleep(_PAUSE)

    def _judge(self, place: int, version: int, best: tuple[str, float]) -> None:
        self.findings.answers[version] += 1
        truth = self._truth.get((version, place))
        if truth is None or truth[0] != best[0] or abs(truth[1] - best[1]) > _TOLERANCE:
            self.findings.wrong.append(f"v{version} says {best} of image {place}; in peace it said {truth}")

    async def _drop(self, name: str, data: bytes) -> None:
        def put() -> None:
            with BlobServiceClient.from_connection_string(self._storage, retry_total=1) as service:
                service.get_blob_client("models", name).upload_blob(data, overwrite=True)

        await asyncio.to_thread(put)


def kill_model_server() -> int:
    """Kills the newest model server below this very process; gives its number (Linux)."""
    parents: dict[int, int] = {}
    servers: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        number = int(folder.name)
        parents[number] = int(stat.rpartition(")")[2].split()[1])
        if b"localcloud.tf_serving" in command or b"tensorflow_model_server" in command:
            servers.append(number)
    ours = [number for number in servers if _below(number, parents)]
    if not ours:
        raise SystemExit("There is no model server to kill.")
    os.kill(max(ours), signal.SIGKILL)
    return max(ours)


def _below(number: int, parents: dict[int, int]) -> bool:
    while number > 1:
        number = parents.get(number, 0)
        if number == os.getpid():
            return True
    return False


async def soak(seconds: float) -> int:
    """Runs it in a fresh local cloud; gives the exit status."""
    with tempfile.TemporaryDirectory(prefix="slipway-soak-") as name:
        folder = Path(name)
        models = await trained(folder)
        async with LocalCloud(Options(data=folder / "cloud", settings=_SETTINGS)) as cloud:
            found = cloud.endpoints
            timeout = aiohttp.ClientTimeout(total=120)
            async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
                client = Client(session, str(found.functions_url), str(found.function_key))
                run = Soak(client, found.storage_connection_string, models)
                await run.run(seconds)
    return summary(run.findings)


def summary(found: Findings) -> int:
    """Prints what happened; 0 where nothing was wrong and every failure is explained."""
    ordered = sorted(found.waited)
    print(
        f"\n{sum(found.answers.values())} answers: "
        + ", ".join(f"v{n} {count}" for n, count in sorted(found.answers.items()))
    )
    if ordered:
        print(f"waited: median {statistics.median(ordered) * 1e3:.0f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.2f} s, "
              f"longest {ordered[-1]:.1f} s")  # fmt: skip
    print(f"{len(found.rollouts)} rollouts, {len(found.kills)} model servers killed")
    for number, kill in enumerate(found.kills, 1):
        back = "did not answer again" if kill.back is None else f"answered again after {kill.back - kill.at:.1f} s"
        print(f"  server {number} {back}; meanwhile {_counted(found.explained(kill))}")
    codes = Counter(code for _, code in found.failures)
    unexplained = found.unexplained()
    print(f"failures: {_counted(codes.elements())}; "
          f"of these without an explanation: {len(unexplained)}; wrong answers: {len(found.wrong)}")  # fmt: skip
    for line in (*found.wrong[:10], *unexplained[:10]):
        print(f"  {line}")
    return 1 if found.wrong or unexplained else 0


def _counted(codes: Iterable[str]) -> str:
    """How many of each."""
    counts = Counter(codes)
    listed = ", ".join(f"{code} {count}" for code, count in counts.most_common())
    return f"{counts.total()} failed ({listed})" if counts else "none failed"


if __name__ == "__main__":
    sys.exit(asyncio.run(soak(float(sys.argv[1]) if len(sys.argv) > 1 else 600.0)))
