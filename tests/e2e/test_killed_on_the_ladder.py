"""The Functions host is killed while the idle ladder takes compute down, and while a request brings it back."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.e2e import small_models
from tests.e2e.conftest import QUICK
from tests.e2e.killed_host import cloud_with_host
from tests.e2e.storm import until

KILLS = 4
SETTINGS = {
    **QUICK,
    "SLIPWAY_SCHEDULE__TEARDOWN": "* * * * * *",
    "SLIPWAY_SCHEDULE__SWEEP": "*/5 * * * * *",
    "SLIPWAY_SCHEDULE__SWEEP_GRACE_SECONDS": "5",
    "SLIPWAY_IDLE__AFTER_MINUTES": "0.04",
    "SLIPWAY_IDLE__POOL_AFTER_MINUTES": "0.02",
}
DELAYS = ("--scale-up-delay", "1", "--scale-down-delay", "2", "--node-join-delay", "0.3")


@pytest.mark.timeout(420)
async def test_the_ladder_ends_where_it_should_though_its_host_is_killed_on_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chosen = random.Random(seed)  # noqa: S311  (no secret)
    with capsys.disabled():
        sys.stdout.write(f"\nkilled on the ladder, seed {seed}\n")
    arguments = [*small_models.pods_run("light_server.py", tmp_path), *DELAYS]
    async with cloud_with_host(tmp_path, SETTINGS, arguments) as place:
        client, host = place.client, place.host
        client.drop("number.keras", small_models.constant(7))
        await client.until(
            lambda: client.model("number"),
            lambda seen: seen["version"] == 1 or (seen["state"] == "asleep" and seen["desired"] == 1), "v1 having served",
        )  # fmt: skip
        for _ in range(KILLS):
            await asyncio.sleep(chosen.uniform(0, 6))
            await host.kill()
            await host.start()
            await host.ready()
        await client.until(
            client.cluster,
            lambda seen: seen["state"] == "pool" and seen["provisioning"] == "Succeeded",
            "an empty pool",
        )
        assert (await client.model("number"))["state"] == "asleep"
        assert client.apps.read_namespaced_deployment("tfs-number-v1", "slipway").spec.replicas == 0
        assert await until(lambda: asyncio.to_thread(lambda: not place.leased()), seconds=60), place.leased()
        assert place.poisoned() == {}

        # A request brings it back, though the host is killed on that way, too.
        asked = {"Content_Type": "application/json"}
        path, question = "/api/v1/models/number:predict", b'{"inputs": [[1.0]]}'
        assert (await client.ask("POST", path, question, **asked)).status == 503
        await asyncio.sleep(chosen.uniform(0, 2))
        await host.kill()
        await host.start()
        await host.ready()
        answer = await client.ask("POST", path, question, Prefer="wait=80", **asked)
        assert (answer.status, answer.body) == (200, {"outputs": [[7.0]]})
