"""The timer trigger: schedules, no overlap, the status blob, and starts after the time that was missed."""

import json
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from azure.storage.blob import BlobClient

from localcloud.functions_host.schedule import Schedule
from tests.hosts import StartHost, until

EVERY_SECOND = """
@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%", run_on_startup=False)
def sweep(timer: func.TimerRequest):
    record(event="begin", past_due=timer.past_due)
    time.sleep(1.2)
    record(event="end")
    raise RuntimeError("errors never stop a schedule")
"""
HOURLY = """
@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
async def teardown(timer: func.TimerRequest):
    record(past_due=timer.past_due, next=timer.schedule_status.get("Next"))
"""


def status_blob(azurite: str, host_id: str) -> BlobClient:
    name = f"timers/{host_id}/Host.Functions.teardown/status"
    return BlobClient.from_connection_string(azurite, "azure-webjobs-hosts", name)


async def test_runs_do_not_overlap_and_errors_do_not_stop_the_schedule(start_host: StartHost) -> None:
    host = await start_host(EVERY_SECOND, settings={"SCHEDULE": "* * * * * *"})
    seen = await host.recorded(4)
    assert [record["event"] for record in seen[:4]] == ["begin", "end", "begin", "end"]
    assert [record.get("past_due") for record in seen[:4]] == [False, None, False, None]


async def test_a_monitored_timer_keeps_its_status_in_a_blob(start_host: StartHost, azurite: str) -> None:
    """The first start only notes when the timer is due."""
    host = await start_host(HOURLY)
    blob = status_blob(azurite, host.ready["host_id"])
    assert await host.stop() == 0
    status = json.loads(blob.download_blob().readall())
    assert set(status) == {"Last", "Next", "LastUpdated"}
    following = datetime.fromisoformat(status["Next"])
    assert (following.minute, following.second) == (0, 0)
    assert timedelta() < following - datetime.fromisoformat(status["LastUpdated"]) <= timedelta(hours=1)
    assert host.records == []


async def test_a_timer_that_was_missed_while_the_host_was_down_runs_at_once_as_past_due(
    start_host: StartHost, azurite: str
) -> None:
    host = await start_host(HOURLY)
    blob = status_blob(azurite, host.ready["host_id"])
    await host.stop()
    missed = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    before = (missed - timedelta(minutes=10)).isoformat()
    blob.upload_blob(json.dumps({"Last": before, "Next": missed.isoformat(), "LastUpdated": before}), overwrite=True)
    again = await start_host()
    assert await again.recorded(1) == [{"past_due": True, "next": missed.isoformat()}]
    await again.stop()
    assert datetime.fromisoformat(json.loads(blob.download_blob().readall())["Next"]) > missed


async def test_a_run_under_way_is_finished_before_the_host_ends(start_host: StartHost) -> None:
    host = await start_host(EVERY_SECOND, settings={"SCHEDULE": "* * * * * *"})
    await host.recorded(1)
    assert await host.stop() == 0
    assert [record["event"] for record in host.records] == ["begin", "end"]


async def test_a_changed_schedule_is_not_past_due(start_host: StartHost, azurite: str) -> None:
    host = await start_host(HOURLY)
    blob = status_blob(azurite, host.ready["host_id"])
    await host.stop()
    long_ago = datetime(2020, 1, 1, 0, 30, tzinfo=UTC).isoformat()
    never_planned = datetime(2020, 1, 1, 0, 45, tzinfo=UTC).isoformat()
    blob.upload_blob(json.dumps({"Last": long_ago, "Next": never_planned, "LastUpdated": long_ago}), overwrite=True)
    again = await start_host()
    await until(
        lambda: b"2020-01-01T00:45" not in blob.download_blob().readall(), what="the next run to be planned anew"
    )
    assert await again.stop() == 0
    assert again.records == []


async def test_the_master_key_runs_a_timer_out_of_turn(start_host: StartHost) -> None:
    host = await start_host(HOURLY)
    url = f"{host.ready['url']}/admin/functions/teardown"
    async with aiohttp.ClientSession() as session:
        for key, name, status in (
            (host.ready["function_key"], "", 401),
            (host.ready["master_key"], "nothing", 404),
            (host.ready["master_key"], "", 202),
        ):
            async with session.post(f"{url}{name}", headers={"x-functions-key": key}, json={}) as answer:
                assert answer.status == status
    assert (await host.recorded(1))[0]["past_due"] is False


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 */5 * * * *", "2026-03-01T10:05:00+00:00"),
        ("*/10 * * * * *", "2026-03-01T10:02:40+00:00"),
        ("30 4 10-12 * * *", "2026-03-01T10:04:30+00:00"),
        ("0 30 9 * * 1-5", "2026-03-02T09:30:00+00:00"),  # a Monday; 2026-03-01 is a Sunday
        ("0 0 0 13 * 5", "2026-03-13T00:00:00+00:00"),  # a Friday and the 13th, not either of them
        ("*/5 * * * *", "2026-03-01T10:05:00+00:00"),
    ],
)
def test_a_schedule_gives_the_next_time_in_utc(expression: str, expected: str) -> None:
    assert Schedule(expression).after(datetime(2026, 3, 1, 10, 2, 33, tzinfo=UTC)).isoformat() == expected


@pytest.mark.parametrize("expression", ["", "* * * *", "0 */5 * * * * *", "61 * * * * *", "soon", "00:05:00"])
def test_what_is_no_schedule_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(ValueError, match="0 \\*/5 \\* \\* \\* \\*"):
        Schedule(expression)


def test_a_timer_of_a_minute_or_less_has_no_status() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert Schedule("0 * * * * *").is_frequent(now)
    assert not Schedule("0 */2 * * * *").is_frequent(now)
