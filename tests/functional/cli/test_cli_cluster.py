"""The cluster, its wakes, its plan and its ledger at the command line."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.functional.cli.command_line import Run
from tests.functional.cli.fake_slipway import FakeSlipway, Reply, refusal
from tests.functional.cli.test_cli_commands import CLUSTER, MODEL

WAKE: dict[str, Any] = {
    "rung": "pool", "stage": "gpu-pool", "eta_seconds": 240,
    "stages": [
        {"stage": "queued", "seconds": 1.2, "expected_seconds": 2.0},
        {"stage": "gpu-pool", "seconds": 100.0, "expected_seconds": 300.4},
        {"stage": "pods", "seconds": None, "expected_seconds": 40.0},
        {"stage": "proof", "seconds": None, "expected_seconds": None},
    ],
}  # fmt: skip
LINE = "wakes from 'pool': gpu-pool, about 240 s remain: queued 1 s (2 s), gpu-pool 100 s (300 s), pods (40 s), proof"
PLAN: dict[str, Any] = {
    "now": "2026-03-01T12:00:00+00:00",
    "order": {"kind": "hold", "by": "command", "until": "2026-03-01T13:00:00+00:00", "at": "2026-03-01T12:00:00+00:00"},
    "steps": [
        {"at": "2026-03-01T13:00:00+00:00", "does": "pods", "models": ["cats"], "why": "no request", "withheld": None},
        {"at": "2026-03-01T13:05:00+00:00", "does": "pool", "models": [], "why": "nobody", "withheld": "no tag"},
    ],
    "rungs": [{
        "rung": "pool", "saves_per_hour": 0.526, "currency": "USD", "wake_seconds_p50": 410.0, "wake_seconds_p90": 500.0,
        "wakes_seen": 7, "pays_after_seconds": 410.0, "wake_stages": {"gpu-pool": 300.4, "pods": 40.0},
    }],
}  # fmt: skip
LEDGER: dict[str, Any] = {
    "start": "2026-03-01T00:00:00+00:00", "end": "2026-03-31T00:00:00+00:00", "gpu_hours": 100.0,
    "gpu_hours_always_on": 720.0, "money": 52.6, "money_always_on": 378.72, "saved": 326.12, "currency": "USD",
    "by_model": {"(none awake)": {"gpu_hours": 1.0, "money": 0.53}, "cats": {"gpu_hours": 99.0, "money": 52.07}},
    "lines": [{
        "at": "2026-03-01T00:00:00+00:00", "rung": "awake", "by": "request", "why": "'cats' was asked for, twice",
        "gpu_nodes": 1, "gpu_size": "Standard_NC4as_T4_v3", "gpu_price": 0.526, "other_nodes": 1, "other_price": 0.192,
        "currency": "USD", "awake": ["cats", "dogs"], "gpus": [1, 1], "gpu_hours": 99.5, "money": 71.44,
    }],
}  # fmt: skip


@pytest.fixture(autouse=True)
def answers(slipway: FakeSlipway) -> None:
    slipway.on("/api/cluster", Reply(200, CLUSTER | {"state": "waking", "wakes": [{"model": "cats", **WAKE}]}))
    slipway.on("/api/cluster/plan", Reply(200, PLAN))
    slipway.on("/api/ledger", Reply(200, LEDGER))
    slipway.on("/api/models/cats", Reply(200, MODEL | {"wake": WAKE}))


def test_a_wake_is_shown_with_what_remains_and_the_time_of_each_stage(run: Run, data: Path) -> None:
    assert LINE in run("--data", data, "cluster").out
    assert LINE in run("--data", data, "status", "cats").out
    assert run("--data", data, "cluster", "--json").document["wakes"][0]["eta_seconds"] == 240


def test_the_plan_tells_what_when_and_why_and_what_each_rung_costs(run: Run, data: Path) -> None:
    out = run("--data", data, "cluster", "plan").out
    for words in (
        "Ordered: hold by command until 2026-03-01 13:00:00", "pods to 0", "GPU pool to 0", "withheld: no tag", "0.53 USD",
        "410 s", "500 s", "gpu-pool 300 s, pods 40 s",
    ):  # fmt: skip
        assert words in out
    assert run("--data", data, "cluster", "plan", "--json").document == PLAN


def test_the_ledger_is_a_table_a_document_or_csv(run: Run, slipway: FakeSlipway, data: Path) -> None:
    out = run("--data", data, "ledger").out
    for words in (
        "100.00",
        "720.00",
        "620.00",
        "52.60 USD",
        "378.72 USD",
        "326.12 USD",
        "(none awake)",
        "cats, dogs",
        "71.44 USD",
    ):
        assert words in out
    assert run("--data", data, "ledger", "--json").document == LEDGER
    ended = run("--data", data, "ledger", "--month", "2026-03", "--csv")
    (row,) = csv.DictReader(io.StringIO(ended.out))
    assert (row["why"], row["awake"], row["gpu_price"]) == ("'cats' was asked for, twice", "cats dogs", "0.526")
    assert slipway.requests[-1].path == "/api/ledger?month=2026-03"


def test_a_ledger_without_prices_says_how_to_give_them(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/ledger", Reply(200, LEDGER | {"money": None, "money_always_on": None, "saved": None}))
    out = run("--data", data, "ledger").out
    assert "unknown" in out and "SLIPWAY_PRICES__PER_HOUR" in out


def test_csv_and_json_at_once_cannot_be_meant(run: Run, data: Path) -> None:
    assert run("--data", data, "ledger", "--csv", "--json").status == 2


@pytest.mark.parametrize("action", ["wake", "sleep", "hold"])
def test_an_order_lasts_for_the_minutes_given(run: Run, slipway: FakeSlipway, data: Path, action: str) -> None:
    slipway.on(f"/api/cluster/{action}", Reply(202, CLUSTER))
    assert run("--data", data, "cluster", action, "--for", "90").status == 0
    assert [(request.method, request.path) for request in slipway.requests] == [
        ("POST", f"/api/cluster/{action}?minutes=90")
    ]


def test_an_order_is_asked_again_while_the_ladder_is_at_work(run: Run, slipway: FakeSlipway, data: Path) -> None:
    busy = refusal(409, "busy", "Another instance is taking compute down or up.", "Try again in a moment.")
    slipway.on("/api/cluster/sleep", busy, busy, Reply(202, CLUSTER))
    assert run("--data", data, "cluster", "sleep").status == 0
    assert [request.path for request in slipway.requests] == ["/api/cluster/sleep"] * 3


def test_any_other_refusal_of_an_order_is_told_at_once(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/cluster/sleep", refusal(503, "azure_locked", "Azure did not.", "Remove the lock."))
    ended = run("--data", data, "cluster", "sleep")
    assert ended.status == 1 and "Remove the lock." in ended.err
    assert len(slipway.requests) == 1
