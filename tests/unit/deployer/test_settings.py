"""Every setting is documented with its default, and named in the example; nothing else is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from deployer.settings import Settings

ROOT = Path(__file__).parents[3]


def settings() -> Iterator[tuple[str, Any]]:
    for group, fields in Settings():
        for name, default in fields:
            yield f"SLIPWAY_{group.upper()}__{name.upper()}", default


def shown(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, (tuple, dict)):
        return json.dumps(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_the_reference_page_has_each_setting_with_its_default() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(SLIPWAY_\w+)` \| (.*?) \|", page, flags=re.MULTILINE))
    assert rows == {name: f"`{shown(default)}`" if shown(default) else "" for name, default in settings()}


def test_the_example_has_each_setting_with_its_default() -> None:
    values = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
    given = {name: value for name, value in values.items() if name.startswith("SLIPWAY_")}
    assert given == {name: shown(default) for name, default in settings()}


def test_an_empty_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_IDLE__STOP_AFTER_MINUTES", "")
    monkeypatch.setenv("SLIPWAY_CLUSTER__GPU_NODES", "3")
    assert Settings().idle.stop_after_minutes is None
    assert Settings().cluster.gpu_nodes == 3


def test_a_value_out_of_bounds_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_PROXY__HOLD_SECONDS", "500")  # the platform ends requests at 230 s
    with pytest.raises(ValidationError, match=r"proxy\.hold_seconds"):
        Settings()


@pytest.mark.parametrize("drain", ["3.9", "4"])
def test_old_versions_must_be_kept_longer_than_routes_to_them(monkeypatch: pytest.MonkeyPatch, drain: str) -> None:
    monkeypatch.setenv("SLIPWAY_ROLLOUT__DRAIN_SECONDS", drain)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert f"SLIPWAY_ROLLOUT__DRAIN_SECONDS is {drain}, and a proxy may use a route for up to 2 × 2 s" in str(
        refused.value
    )
    assert "Set the first to more than 4, or lower the second." in str(refused.value)
    monkeypatch.setenv("SLIPWAY_PROXY__ROUTE_CACHE_SECONDS", "1")
    assert Settings().rollout.drain_seconds == float(drain)


def test_nothing_need_be_kept_where_routes_are_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_ROLLOUT__DRAIN_SECONDS", "0")
    monkeypatch.setenv("SLIPWAY_PROXY__ROUTE_CACHE_SECONDS", "0")
    assert Settings().rollout.drain_seconds == 0


def test_the_bodies_under_way_must_have_room_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_PROXY__MAX_BODY_MB", "300")
    with pytest.raises(ValidationError, match="MAX_IN_FLIGHT_MB is 256, less than one body"):
        Settings()
