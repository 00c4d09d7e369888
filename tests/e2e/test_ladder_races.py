"""The idle ladder of a whole local cloud, raced by requests, by uploads and by both at once, for several models that share it.

``make races`` runs two hundred races, ``make test`` a few of them.
"""

import asyncio
import os
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from tests.e2e.cloud_user import Client, StartCloud
from tests.e2e.light_cloud import LADDER, content, empty, light_pods, predict

RACES = int(os.environ.get("SLIPWAY_RACES", "3"))
MODELS = ("cats", "dogs", "owls")
ORDER = re.compile(r"PUT \S+/agentPools/gpu: (.*)$", re.MULTILINE)
ASLEEP = 8  # seconds after its last answer a model is asleep, and the pool gone with the last of them
KINDS: tuple[Literal["both", "request", "upload"], ...] = ("both", "request", "upload")


class Races:
    """The races of one cloud: so many models, each disturbed once a round at a moment of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.chosen = random.Random(11)  # noqa: S311  (no secret: which races are run)
        self.versions = dict.fromkeys(MODELS, 1)
        self.met = Counter[str]()

    async def begin(self) -> None:
        """Every model serves its first version."""
        for number, model in enumerate(MODELS):
            self.client.drop(f"{model}.zip", content(number))
        await asyncio.gather(*(self.client.serves(model, 1) for model in MODELS))

    async def round(self, number: int) -> None:
        """Nobody asks for a while; then each model is asked for, dropped anew, or both, at nearly the same time."""
        await asyncio.sleep(self.chosen.uniform(0, ASLEEP))
        arrivals = [
            self.race(model, KINDS[(number + place) % len(KINDS)], self.chosen.uniform(0, 2))
            for place, model in enumerate(MODELS)
        ]
        await asyncio.gather(*arrivals)

    async def race(self, model: str, kind: Literal["both", "request", "upload"], pause: float) -> None:
        """One arrival, and what must come of it."""
        await asyncio.sleep(pause)
        self.met[f"{kind} while {(await self.client.cluster())['state']}"] += 1
        if kind != "request":
            self.versions[model] += 1
            self.client.drop(f"{model}.zip", content(len(MODELS) * self.versions[model] + MODELS.index(model)))
        if kind != "upload":
            answers = await asyncio.gather(*(predict(self.client, model, wait=90) for _ in range(3)))
            assert [answer.status for answer in answers] == [200] * 3, [answer.body for answer in answers]
        if kind != "request":
            await self.served(model, self.versions[model])

    async def served(self, model: str, version: int) -> None:
        """Waits until this version serves, or has served and is asleep again before it was seen."""
        await self.client.until(
            lambda: self.client.model(model),
            lambda seen: seen["version"] == version or (seen["state"] == "asleep" and seen["desired"] == version),
            f"{model} v{version} having served",
        )


@pytest.mark.timeout(240 + 30 * RACES)
async def test_teardowns_are_raced_by_requests_and_uploads_and_no_request_is_lost(
    start_cloud: StartCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**LADDER, "SLIPWAY_CLUSTER__GPU_NODES": str(len(MODELS))}
    client = await start_cloud(settings, gpu_nodes=len(MODELS), aks_arguments=light_pods(tmp_path))
    races = Races(client)
    await races.begin()
    for number in range(-(-RACES // len(MODELS))):
        await races.round(number)
    await empty(client)
    assert client.core.list_node(label_selector="agentpool=gpu").items == []
    orders = ORDER.findall((tmp_path / "cloud" / "logs" / "aks.log").read_text())
    with capsys.disabled():
        met = ", ".join(f"{count} {what}" for what, count in sorted(races.met.items()))
        sys.stdout.write(f"\n{races.met.total()} races with the ladder ({met}); {len(orders)} orders to the GPU pool\n")
    refused = [order for order in orders if not re.fullmatch(rf"200 count=(0|{len(MODELS)})", order)]
    assert orders and not refused, f"{len(refused)} of {len(orders)} orders to the GPU pool were refused: {refused}"
    counts = [int(order[-1]) for order in orders]
    assert counts == [len(MODELS) * (place % 2) for place in range(len(counts))], "an order was sent twice"
