"""The idle ladder of a whole local cloud, raced by requests, by uploads and by both at once.

``make races`` runs two hundred races, ``make test`` a few of them.
"""

import asyncio
import os
import random
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.cloud_user import Client, StartCloud
from tests.e2e.light_cloud import LADDER, content, empty, light_pods, predict

RACES = int(os.environ.get("SLIPWAY_RACES", "3"))
SEED = int(os.environ.get("SLIPWAY_SEED", "11"))
ORDER = re.compile(r"PUT \S+/agentPools/gpu: (.*)$", re.MULTILINE)
AWAKE = 7  # seconds after its last answer the model has gone to sleep, and the pool with it


async def served(client: Client, version: int) -> None:
    """Waits until this version serves, or has served and is asleep again."""
    await client.until(
        lambda: client.model("half"),
        lambda seen: seen["version"] == version or (seen["state"] == "asleep" and seen["desired"] == version),
        f"half v{version} having served",
    )


@pytest.mark.timeout(180 + 60 * RACES)
async def test_teardowns_are_raced_by_requests_and_uploads_and_no_request_is_lost(
    start_cloud: StartCloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await start_cloud(LADDER, aks_arguments=light_pods(tmp_path))
    client.drop("half.zip", content(0))
    await client.serves("half", 1)
    chosen = random.Random(SEED)  # noqa: S311  (no secret: which races are run)
    version, met = 1, Counter[str]()
    for number in range(1, RACES + 1):
        arrival = (
            chosen.choice(["request", "request", "upload", "both"])
            if number > 3
            else ["both", "request", "upload"][number - 1]
        )
        await asyncio.sleep(chosen.uniform(1, AWAKE))
        met[f"{arrival} at {(await client.cluster())['state']}"] += 1
        if arrival != "request":
            client.drop("half.zip", content(number))
            version += 1
        if arrival != "upload":
            answers = await asyncio.gather(*(predict(client, wait=90) for _ in range(3)))
            assert [answer.status for answer in answers] == [200] * 3, [answer.body for answer in answers]
        if arrival != "request":  # it may have served, and gone to sleep again, before this is seen
            await served(client, version)
    await empty(client)
    assert client.core.list_node(label_selector="agentpool=gpu").items == []
    orders = ORDER.findall((tmp_path / "cloud" / "logs" / "aks.log").read_text())
    with capsys.disabled():
        sys.stdout.write(f"\n{RACES} races: {dict(met)}; {len(orders)} orders to the GPU pool\n")
    refused = [order for order in orders if not re.fullmatch(r"20[01] count=[01]", order)]
    assert orders and not refused, f"{len(refused)} of {len(orders)} orders to the GPU pool were refused: {refused}"
    counts = [order[-1] for order in orders]
    assert counts == ["0" if place % 2 == 0 else "1" for place in range(len(counts))], "an order was sent twice"
