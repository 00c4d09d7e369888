"""The Functions host is killed at random moments while models are uploaded; everything converges, and no client notices.

``make chaos`` kills fifty times during twenty uploads of five models, ``make test`` a few times. CHAOS_SEED repeats a run's
choices, as far as the machine lets it.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import small_models
from tests.e2e.conftest import QUICK
from tests.e2e.killed_host import Place, cloud_with_host
from tests.e2e.storm import OPTIONS, Asking, Upload, Watch, damaged, until

KILLS = int(os.environ.get("CHAOS_KILLS", "4"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
FULL = ("keras-a", "zip-b", "folder-c", "keras-d", "folder-e"), 20
SMALL = ("keras-a", "folder-c"), 5
# More attempts than a person would want to wait for: here a host is killed every few seconds, which counts as one each.
SETTINGS = {
    **QUICK,
    "SLIPWAY_IDLE__ENABLED": "false",
    "SLIPWAY_SCHEDULE__SWEEP": "*/5 * * * * *",
    "SLIPWAY_SCHEDULE__SWEEP_GRACE_SECONDS": "5",
    "SLIPWAY_SERVING__CPU": "100m",  # all pods are on one node, old and new ones beside each other
    "SLIPWAY_SERVING__MEMORY": "256Mi",
    "SLIPWAY_UPLOADS__ATTEMPTS": "100",
    "SLIPWAY_UPLOADS__RETRY_MINUTES": "0.001",
    "SLIPWAY_UPLOADS__SETTLE_SECONDS": "4",
}
LONGEST_LIFE = 40 if KILLS >= 50 else 12  # seconds
CONVERGED_SECONDS = 240


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with cloud_with_host(tmp_path, SETTINGS, small_models.pods_run("light_server.py", tmp_path)) as made:
        yield made


async def drop(place: Place, uploads: Sequence[Upload], chosen: random.Random, kills: Callable[[], int]) -> None:
    """All uploads: the first of each model at once, the others spread over the first four fifths of the kills."""
    for index, upload in enumerate(uploads):

        async def due(before: float = 0.8 * KILLS * index / len(uploads)) -> bool:
            return kills() >= before

        assert await until(due, seconds=60 * KILLS)
        await asyncio.sleep(chosen.uniform(0, 1.5))
        for name, content in [(upload.options(), OPTIONS), *upload.files(chosen)]:
            await asyncio.to_thread(place.client.drop, name, content)
            await asyncio.sleep(chosen.choice([0.0, 0.0, 0.3]))


async def storm(place: Place, chosen: random.Random, count: Callable[[], None]) -> Counter[str]:
    """Kills the host again and again; gives what was under way when it died."""
    amid: Counter[str] = Counter()
    for _ in range(KILLS):
        await life(place, chosen)
        if chosen.random() < 0.25 and place.host.kill_converting():
            amid["the converting process killed before"] += 1
            await asyncio.sleep(chosen.uniform(0, 3))
        await place.host.kill()
        amid.update(under_way(await asyncio.to_thread(place.records)) or ["nothing"])
        count()
        await place.host.start()
    return amid


async def life(place: Place, chosen: random.Random) -> None:
    """How long a host may live: a while; or until it has written a record; or until something was achieved; and a moment more."""
    before = await asyncio.to_thread(place.records)

    async def written() -> bool:
        return await asyncio.to_thread(place.records) != before

    async def achieved() -> bool:
        return achievements(await asyncio.to_thread(place.records)) != achievements(before)

    match chosen.choices(["while", "written", "achieved"], [3, 3, 4])[0]:
        case "while":
            await asyncio.sleep(chosen.uniform(0.1, LONGEST_LIFE / 5))
        case "written":
            await until(written, seconds=LONGEST_LIFE)
            await asyncio.sleep(chosen.uniform(0, 3))
        case _:
            await until(achieved, seconds=LONGEST_LIFE)
            await asyncio.sleep(chosen.uniform(0, 2))


def achievements(records: dict[str, dict[str, Any]]) -> list[object]:
    """The versions that were published, and those that serve."""
    return [
        ([item["version"] for item in record["versions"] if item["state"] != "publishing"], record["route"])
        for _, record in sorted(records.items())
    ]


def under_way(records: dict[str, dict[str, Any]]) -> list[str]:
    uploads = [record["upload"]["state"] for record in records.values() if record["upload"]]
    rollouts = [record["rollout"]["step"] for record in records.values() if record["rollout"]]
    return [*(state for state in uploads if state not in ("serving", "published")), *rollouts]


async def converged(place: Place, last: dict[str, Upload]) -> dict[str, dict[str, Any]]:
    """Waits until each model serves what was uploaded last, and nothing is left to be done."""
    servables, seen = place.client.container("servables"), dict[str, dict[str, Any]]()

    def look() -> bool:
        seen.update(place.records())
        return all(
            (record := seen.get(model)) is not None
            and record["upload"]["state"] == "serving"
            and record["rollout"] is None
            and record["route"] is not None
            and record["route"]["version"] == record["desired"] == record["upload"]["version"]
            and upload.made(servables, record["desired"])
            for model, upload in last.items()
        )

    done = await until(lambda: asyncio.to_thread(look), seconds=CONVERGED_SECONDS)
    state = {
        model: {name: record[name] for name in ("upload", "desired", "route", "rollout")} | {
            "versions": [(item["version"], item["state"]) for item in record["versions"]]
        }
        for model, record in seen.items()
    }  # fmt: skip
    assert done, f"not converged: {json.dumps(state, indent=1)}"
    return seen


@pytest.mark.timeout(300 + 25 * KILLS)
async def test_a_host_that_is_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    models, number = FULL if KILLS >= 50 else SMALL
    chosen = random.Random(SEED)  # noqa: S311  (no secret)
    with capsys.disabled():
        print(f"\nCHAOS_SEED={SEED}: {KILLS} kills, {number} uploads of {len(models)} models")  # noqa: T201
    order = [*models, *chosen.choices(models, k=number - len(models))]
    uploads = [Upload(name, index) for index, name in enumerate(order, 1)]
    last = {upload.model: upload for upload in uploads}
    servables = place.client.container("servables")
    asking, watch = Asking(place.client, models), Watch(servables)
    stop, killed = asyncio.Event(), Counter[str]()
    around = [asyncio.create_task(asking.run(stop)), asyncio.create_task(watch.run(stop))]
    try:
        if KILLS < 50:  # so few hit the clients of a model only if it serves before
            first, uploads = uploads[: len(models)], uploads[len(models) :]
            await drop(place, first, chosen, lambda: KILLS)
            await converged(place, {upload.model: upload for upload in first})
        async with asyncio.TaskGroup() as group:
            group.create_task(drop(place, uploads, chosen, lambda: killed["host"]))
            stormy = group.create_task(storm(place, chosen, lambda: killed.update(["host"])))
        await place.host.ready()
        records = await converged(place, last)
        assert await until(lambda: asyncio.to_thread(lambda: not place.leased()), seconds=90), place.leased()
        await place.host.children_gone()
    finally:
        stop.set()
        await asyncio.gather(*around)
    made = {model: [item["version"] for item in records[model]["versions"]] for model in models}
    with capsys.disabled():
        print(  # noqa: T201
            f"{sum(asking.answered.values())} requests answered, {len(asking.lost)} lost; {watch.looks} looks at "
            f"{len(watch.seen)} versions; versions {made}; amid {dict(stormy.result())}"
        )

    assert asking.lost == []
    assert set(asking.answered) == set(models)
    assert watch.partial == []
    assert place.poisoned() == {}
    live = set()
    for model in models:
        record, mine = records[model], [Upload(model, index) for index, name in enumerate(order, 1) if name == model]
        assert made[model] == list(range(1, record["next_version"])), "numbers are neither doubled nor skipped"
        assert len(made[model]) <= len(mine)
        assert record["desired"] == max(item["version"] for item in record["versions"] if item["state"] != "deleted")
        kept = [item for item in record["versions"] if item["state"] != "deleted"]
        for item in record["versions"]:
            assert item["state"] in ("serving", "retired", "published", "deleted"), item
        assert len({item["identity"] for item in kept}) == len(kept), "no content twice"
        for item in kept:
            assert any(upload.made(servables, item["version"]) for upload in mine), item
            assert damaged(servables, model, item["version"]) == []
            live.add(f"{model}/{item['version']}")
    assert {
        blob.name.rpartition("/")[0].split("/variables")[0].split("/assets")[0] for blob in servables.list_blobs()
    } == live
    await only_what_serves_runs(place, {model: records[model]["desired"] for model in models})
    await nothing_is_left_on_disk(place, last[models[0]])


async def only_what_serves_runs(place: Place, serving: dict[str, int]) -> None:
    """The cluster has the objects of the versions that serve, and no others; pods on their way out go."""
    names = {f"tfs-{model}-v{version}" for model, version in serving.items()}
    client = place.client
    assert {item.metadata.name for item in client.apps.list_namespaced_deployment("slipway").items} == names
    services = {item.metadata.name for item in client.core.list_namespaced_service("slipway").items}
    assert services == names | {f"tfs-{model}" for model in serving}
    for model, version in serving.items():
        stable = client.core.read_namespaced_service(f"tfs-{model}", "slipway")
        assert stable.spec.selector == {"app": model, "version": f"v{version}"}

    async def pods() -> bool:
        found = await asyncio.to_thread(client.core.list_namespaced_pod, "slipway")
        return sorted(pod.metadata.labels["app"] for pod in found.items) == sorted(serving)

    assert await until(pods, seconds=60), "pods of versions that are gone"


async def nothing_is_left_on_disk(place: Place, again: Upload) -> None:
    """What killed hosts had fetched is removed by the next upload: the same bytes, which make no version."""
    place.host.age_leftovers()
    for name, content in again.files(random.Random(SEED)):  # noqa: S311  (no secret)
        place.client.drop(name, content)

    async def gone() -> bool:
        return not any(place.host.temporary.iterdir())

    assert await until(gone, seconds=60), sorted(place.host.temporary.iterdir())
