"""The idle ladder through the real command line: orders, hours of use, days off, the wake test, and what is told of it all."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cloud_user import Client, StartCloud
from tests.e2e.light_cloud import LADDER, content, empty, light_pods, predict, slipway

ALWAYS = "idle: {keep_awake: [{cron: '0 0 * * *', hours: 48}]%s}\ngpus: 0\n"
STAGES = ["queued", "gpu-pool", "gpu-node", "pods", "proof"]


class CommandLine:
    """``slipway`` on one local cloud."""

    def __init__(self, data: Path) -> None:
        self.data = data

    async def __call__(self, *arguments: str) -> str:
        return await slipway(self.data, *arguments)

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self(*arguments, "--json"))


async def asleep(client: Client, model: str) -> None:
    await client.until(lambda: client.model(model), lambda seen: seen["state"] == "asleep", f"{model} asleep")


async def test_orders_hours_of_use_and_the_wake_test_by_the_command_line(
    start_cloud: StartCloud, tmp_path: Path
) -> None:
    settings = {**LADDER, "SLIPWAY_IDLE__WAKE_TEST_DAYS": "0.0001"}
    client = await start_cloud(settings, aks_arguments=light_pods(tmp_path))
    command = CommandLine(tmp_path / "cloud")
    held = await command.json("cluster", "hold", "--for", "30")
    assert held["order"]["kind"] == "hold" and held["order"]["by"] == "command"
    today = datetime.now(UTC).date()
    days_off = ", ".join((today + timedelta(days=day)).isoformat() for day in (-2, -1, 0, 1))
    client.drop("dogs.yaml", (ALWAYS % f", days_off: [{days_off}]").encode())
    client.drop("owls.yaml", (ALWAYS % "").encode())
    for number, model in enumerate(("cats", "dogs", "owls")):
        client.drop(f"{model}.zip", content(number))
    for model in ("cats", "dogs", "owls"):
        await client.serves(model, 1)
    assert "hold by command until" in await command("cluster", "plan")
    assert (await command.json("cluster", "plan"))["steps"][0]["at"] >= held["order"]["until"][:19]

    # Released, what nobody asks for goes; what is in its hours of use stays, on a day off it goes all the same.
    assert (await command.json("cluster", "release"))["order"] is None
    await asleep(client, "dogs")
    await asleep(client, "cats")
    assert (await client.model("owls"))["state"] == "serving"

    # An order to sleep puts down what its hours keep awake, and no wake is tried while it holds.
    slept = await command.json("cluster", "sleep", "--for", "30")
    assert slept["order"]["kind"] == "sleep"
    await asleep(client, "owls")
    await empty(client)
    assert (await command.json("cluster", "plan"))["steps"][0]["at"] >= slept["order"]["until"][:19]

    # An order to wake wakes all, and says how far they are.
    waking = await command.json("cluster", "wake", "--for", "30")
    assert waking["state"] == "waking" and waking["order"]["kind"] == "wake"
    rungs = {wake["model"]: wake["rung"] for wake in waking["wakes"]}
    assert rungs.items() <= {"cats": "pool", "dogs": "pods", "owls": "pods"}.items() and "cats" in rungs
    await _waking(client, command)
    for model in ("cats", "dogs", "owls"):
        await client.serves(model, 1)
    (pool,) = [item for item in (await command.json("cluster", "plan"))["rungs"] if item["rung"] == "pool"]
    assert pool["wakes_seen"] in (1, 2)  # the first upload may have met an empty pool
    assert set(pool["wake_stages"]) == set(STAGES[1:])

    # Asleep for so long, and under no order, one model is woken to see that it can be.
    await command("cluster", "sleep")
    await empty(client)
    await command("cluster", "release")
    told = "everything has been asleep for so long that a wake is tried"

    async def ledger() -> dict[str, Any]:
        found: dict[str, Any] = (await client.ask("GET", "/api/ledger")).body
        return found

    await client.until(ledger, lambda seen: any(line["why"] == told for line in seen["lines"]), "a wake that is tried")
    await command("cluster", "sleep")  # or another would be tried before all is told
    await empty(client)
    await _told(client, command)


async def _waking(client: Client, command: CommandLine) -> None:
    """Whoever asks meanwhile is told what remains, and of which stages."""
    shown = await command("status", "cats")
    assert "wakes from 'pool'" in shown or "v1 serves" in shown  # whichever was first
    stages: list[str] = []

    async def asked() -> dict[str, Any]:
        answer = await predict(client, "cats")
        if answer.status == 503:
            told = answer.body["slipway"]
            assert (told["code"], int(answer.headers["Retry-After"])) == ("waking", told["eta_seconds"])
            begun = [item["stage"] for item in told["stages"] if item["seconds"] is not None]
            assert begun[-1] == told["stage"] and told["stages"][-1]["stage"] == "proof"
            stages.append(told["stage"])
        return {"status": answer.status}

    await client.until(asked, lambda seen: seen["status"] == 200, "an answer")
    assert [stage for stage in STAGES if stage in stages] == list(dict.fromkeys(stages))


async def _told(client: Client, command: CommandLine) -> None:
    """The ledger over HTTP and by the command line, as JSON, as CSV and for people."""
    found = (await client.ask("GET", "/api/ledger")).body
    assert 0 < found["gpu_hours"] < found["gpu_hours_always_on"]
    assert 0 < found["money"] < found["money_always_on"] and found["currency"] == "USD"
    assert set(found["by_model"]) == {"cats", "(none awake)"}
    rungs = [line["rung"] for line in found["lines"]]
    assert {"awake", "pool"} <= set(rungs) and rungs[-1] == "pool"
    assert {"timer", "command"} <= {line["by"] for line in found["lines"]}
    refused = await client.ask("GET", "/api/ledger?month=never")
    assert (refused.status, refused.body["error"]["code"]) == (400, "bad_parameter")
    assert (await client.ask("GET", "/api/ledger?month=2020-01")).body["lines"] == []
    month = datetime.fromisoformat(found["start"]).strftime("%Y-%m")
    document = await command.json("ledger", "--month", month)
    known = len(rungs) - 1  # the last goes on costing
    assert document["lines"][:known] == found["lines"][:known]
    assert sum(line["gpu_hours"] for line in document["lines"]) == pytest.approx(document["gpu_hours"], abs=0.02)
    rows = list(csv.DictReader(io.StringIO(await command("ledger", "--month", month, "--csv"))))
    assert [row["rung"] for row in rows][: len(rungs)] == rungs
    assert {row["gpu_price"] for row in rows} == {"3600.0"}
    shown = await command("ledger")
    for words in ("always on", "saved", "cats", "a command", "USD"):
        assert words in shown
