"""No request fails while versions change: surge, canary, replace, and a canary that is given up, at a steady load.

The load goes through the Functions host, over several connections that stay open; what counts is every answer.
"""

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.digits import TRAINING, load, png
from tests.e2e import small_models
from tests.e2e.cloud_user import Client, StartCloud

QUICK_FIGURES = {
    "SLIPWAY_IDLE__ENABLED": "false",
    "SLIPWAY_PROXY__FIGURES_SECONDS": "1",
    "SLIPWAY_PROXY__ROUTE_CACHE_SECONDS": "1",
}
_PAUSE = 0.05
_LONGEST_SECONDS = 60.0  # a prediction's own bound, SLIPWAY_PROXY__TIMEOUT_SECONDS
_SHARE = 40

Request = tuple[str, bytes, Mapping[str, str]]


@dataclass(frozen=True)
class Answered:
    """One answer: when it came (UTC, by the clock that the records go by), how long it took, and who gave it."""

    at: float
    seconds: float
    status: int
    version: int
    body: Any


@dataclass
class Load:
    """Clients that ask one request after the other, each over a connection of its own."""

    url: str
    key: str
    answers: list[Answered] = field(default_factory=list)

    async def ask(self, path: str, body: bytes, headers: Mapping[str, str], stop: asyncio.Event) -> None:
        """One client."""
        headers = {**headers, "x-functions-key": self.key}
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1), timeout=aiohttp.ClientTimeout(240)
        ) as session:
            while not stop.is_set():
                began = time.monotonic()
                async with session.post(self.url + path, data=body, headers=headers) as answer:
                    told = await answer.read()
                    version = int(answer.headers.get("x-slipway-model-version", "0"))
                seconds = time.monotonic() - began
                parsed = json.loads(told) if told else None
                self.answers.append(Answered(time.time(), seconds, answer.status, version, parsed))
                await asyncio.sleep(_PAUSE)

    def since(self, moment: float) -> list[Answered]:
        """What was answered from then on."""
        return [answer for answer in self.answers if answer.at >= moment]

    @contextlib.asynccontextmanager
    async def going(self, *requests: Request) -> AsyncIterator[None]:
        """A client for each of these requests, for as long as the block lasts; no answer may be an error."""
        stop = asyncio.Event()
        clients = [asyncio.create_task(self.ask(path, body, headers, stop)) for path, body, headers in requests]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*clients)
        assert [answer for answer in self.answers if answer.status != 200] == []
        assert len(self.answers) > 10 * len(requests)


def load_on(client: Client) -> Load:
    url, key = client.functions
    return Load(url, key)


def golden(client: Client, model: str, version: int, signature: str) -> bytes:
    """A request to TensorFlow Serving that this version is known to answer."""
    stored = client.container("servables").download_blob(f"{model}/{version}/servable.json").readall()
    found = next(each for each in json.loads(stored)["golden"] if each["signature"] == signature)
    return json.dumps({"signature_name": signature, "inputs": found["inputs"]}).encode()


async def decided(client: Client, model: str, what: str) -> dict[str, Any]:
    """The newest decision of these words."""
    history: Sequence[dict[str, Any]] = (await client.model(model))["history"]
    return next(entry for entry in reversed(history) if entry["what"] == what)


def moment(decision: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(decision["at"]).timestamp()


@pytest.mark.timeout(420)
async def test_no_request_fails_while_versions_surge_are_tried_and_replaced(
    start_cloud: StartCloud, digits: Path
) -> None:
    client = await start_cloud(QUICK_FIGURES, gpu_nodes=2)
    image = png(load()[TRAINING])

    def drop(which: str, options: str) -> None:
        client.drop("digits.yaml", options.encode())
        client.drop("digits.labels.txt", (digits / which / "digits.labels.txt").read_bytes())
        client.drop("digits.keras", (digits / which / "digits.keras").read_bytes())

    drop("v1", "rollout: surge")
    await client.serves("digits", 1)
    classify: Request = ("/api/classify/digits?top=1", image, {"Content-Type": "image/png"})
    predict: Request = ("/api/v1/models/digits:predict", golden(client, "digits", 1, "serving_default"), {})
    running = load_on(client)
    async with running.going(*[classify] * 4, *[predict] * 3):
        # Surge: new beside old, then all requests at once; they change hands once.
        began = time.time()
        drop("v2", "rollout: surge")
        await client.serves("digits", 2)
        await settled(client)
        surged = running.since(began)
        switched = moment(await decided(client, "digits", "requests go to v2"))
        assert {answer.version for answer in surged} == {1, 2}
        assert {answer.version for answer in surged if answer.at < switched} == {1}
        assert max(answer.seconds for answer in surged) < _LONGEST_SECONDS

        # Canary: a share first, which is honoured; judged by what the proxy saw.
        began = time.time()
        drop("v1", f"rollout: canary\ncanary: {{share: {_SHARE}, minutes: 0.2}}\n")
        await client.serves("digits", 1)
        await settled(client)
        tried = moment(await decided(client, "digits", "v1 on trial"))
        passed = await decided(client, "digits", "requests go to v1")
        assert {answer.version for answer in running.since(began) if answer.at < tried} <= {2}
        cached = 2 * float(QUICK_FIGURES["SLIPWAY_PROXY__ROUTE_CACHE_SECONDS"])  # a route is used for so long at most
        trial = [answer for answer in running.since(tried + cached) if answer.at < moment(passed)]
        sides = Counter(answer.version for answer in trial)
        assert len(trial) >= 40, "too few answers to tell a share"
        assert abs(sides[1] / len(trial) - _SHARE / 100) < 0.2, sides
        figures = re.search(r"on trial 0 of (\d+) requests failed", passed["why"])
        assert figures is not None, passed
        assert 0 < int(figures[1]) <= len([answer for answer in running.since(tried) if answer.version == 1])

        # Replace: the old version goes first, and requests wait for the new one, within their bound.
        began = time.time()
        drop("v2", "rollout: replace")
        await client.serves("digits", 2)
        await settled(client)
        replaced = running.since(began)
        assert {answer.version for answer in replaced} == {1, 2}
        assert 1 < max(answer.seconds for answer in replaced) < _LONGEST_SECONDS, "they had to wait"


async def settled(client: Client) -> None:
    """Waits until the old version is gone, and a little longer."""
    await client.until(lambda: client.model("digits"), lambda seen: seen["rollout"] is None, "the old version is gone")
    await asyncio.sleep(1)


@pytest.mark.timeout(300)
async def test_callers_do_not_notice_a_canary_whose_answers_fail(start_cloud: StartCloud, tmp_path: Path) -> None:
    """It is given up for what the proxy saw; its requests are answered by the version that serves."""
    client = await start_cloud(QUICK_FIGURES, aks_arguments=small_models.pods_run("failing_server.py", tmp_path))
    options = f"gpus: 0\nrollout: canary\ncanary: {{share: {_SHARE}, minutes: 5}}\n"
    client.drop("number.yaml", options.encode())
    client.drop("number.keras", small_models.constant(7))
    await client.serves("number", 1)
    running = load_on(client)
    predict: Request = ("/api/v1/models/number:predict", b'{"inputs": [[12345.0]]}', {})
    session = {"x-slipway-session": "anna"}
    async with running.going(*[predict] * 4, (predict[0], predict[1], session)):
        client.drop("number.keras", small_models.constant(700))
        seen = await client.failed("number")
        await client.until(lambda: client.model("number"), lambda seen: seen["rollout"] is None, "v2 is gone")
        await asyncio.sleep(1)
    assert seen["version"] == 1
    told = re.search(r"on trial (\d+) of (\d+) requests failed \(100.00%\); at most 1.00% may", seen["reason"])
    assert told is not None, seen["reason"]
    assert int(told[1]) == int(told[2]) >= 3
    assert all(answer.body == {"outputs": [[7.0]]} and answer.version == 1 for answer in running.answers)
    deployments = client.apps.list_namespaced_deployment("slipway").items
    assert [item.metadata.name for item in deployments] == ["tfs-number-v1"]
