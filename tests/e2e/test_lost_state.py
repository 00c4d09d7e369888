"""The whole state container is lost: what serves serves on, and a repair by command finds everything again."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.digits import TRAINING, load, png
from tests.e2e.cloud_user import Client, StartCloud
from tests.e2e.test_main_job import drop_digits

UNSEEN = load()[TRAINING:]
SLIPWAY = "from deployer.cli import main; main()"


async def slipway(data: Path, *arguments: str) -> tuple[int | None, Any]:
    """Exit status and JSON of the command line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SLIPWAY, "--data", str(data), *arguments, "--json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), 240)
    return process.returncode, json.loads(output)


def empty_state(client: Client) -> list[str]:
    """Deletes every blob of the state container, as somebody cleaning up might; those that are leased as well."""
    container = client.container("slipway")
    names = list(container.list_blob_names())
    for name in names:
        blob = container.get_blob_client(name)
        if blob.get_blob_properties().lease.state == "leased":
            continue  # Azure refuses that
        blob.delete_blob()
    return names


def pods(client: Client) -> dict[str, str]:
    """The model servers that run, with the time at which each was started."""
    found = client.core.list_namespaced_pod("slipway", label_selector="app=digits").items
    return {pod.metadata.name: str(pod.status.start_time) for pod in found}


@pytest.mark.timeout(240)
async def test_state_is_made_anew_and_numbers_go_on(start_cloud: StartCloud, digits: Path, tmp_path: Path) -> None:
    client = await start_cloud({"SLIPWAY_SCHEDULE__SWEEP": "0 0 0 29 2 *"})  # nothing but the command makes it anew
    data, image = tmp_path / "cloud", png(UNSEEN[0])
    drop_digits(client, digits, "v1")
    await client.serves("digits", 1)
    before = pods(client)

    assert "models/digits.json" in empty_state(client)
    status, answer = await slipway(data, "doctor")
    assert status == 1
    assert "it was lost" in json.dumps(answer["findings"])
    assert pods(client) == before

    status, answer = await slipway(data, "doctor", "--repair")
    assert (status, answer["repaired"]) == (0, ["digits"]), answer
    shown = await client.serves("digits", 1)
    assert [entry["what"] for entry in shown["history"]][:1] == ["record made anew"]
    assert (await client.classify("digits", image)).body["version"] == 1
    cluster = await client.cluster()
    assert (cluster["state"], cluster["order"]) == ("awake", None)
    assert pods(client) == before

    drop_digits(client, digits, "v2")
    shown = await client.serves("digits", 2)
    assert [version["state"] for version in shown["versions"]] == ["retired", "serving"]
    assert (await client.classify("digits", image)).body["version"] == 2
