"""What users are shown: tags that Azure takes, one word for the state, and the cluster's rung."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.glance import state_of
from deployer.idle import EmptyPool, SleepModels, Stay, StopCluster
from deployer.ports import ClusterState
from deployer.record import (
    ClusterRecord,
    ModelRecord,
    Operation,
    Removal,
    RolloutStatus,
    Route,
    UploadState,
    UploadStatus,
    VersionRecord,
    Wake,
)
from deployer.tags import tags_of
from deployer.timeline import Stage
from deployer.views import cluster_view, model_view

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ALLOWED = re.compile(r"[A-Za-z0-9 +\-./:=_]{0,256}")  # Azure's rule for the value of a blob index tag
V1 = VersionRecord(version=1, identity="a", state="serving", created=NOON)
ROUTE = Route(version=1, address="http://10.0.0.1:8501")
ROLLOUT = RolloutStatus(version=1, started=NOON, step="Apply", since=NOON, looked=NOON, message="v1 to 1 replica")
AWAKE = ClusterState("Running", busy=False, pool_count=1, provisioning="Succeeded")


def upload(state: UploadState, **more: object) -> UploadStatus:
    status = UploadStatus(blob="cats.keras", etag="1", fingerprint="f", state=state, at=NOON)
    return status.but(**more)


@given(st.sampled_from(["failed", "serving"]), st.none() | st.integers(1, 10**6), st.none() | st.text(max_size=600))
def test_tags_hold_what_azure_allows(state: str, version: int | None, reason: str | None) -> None:
    tags = tags_of(state, version, reason)
    assert all(ALLOWED.fullmatch(value) for value in tags.values())
    assert len(tags) <= 10


def test_tags_say_state_version_and_reason() -> None:
    assert tags_of("failed", 3, "'cats' isn't a model (really?)") == {
        "slipway_state": "failed", "slipway_version": "3", "slipway_reason": " cats  isn t a model  really  ",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (ModelRecord(name="cats", updated=NOON), "failed"),
        (ModelRecord(name="cats", updated=NOON, upload=upload("scanning")), "scanning"),
        (ModelRecord(name="cats", updated=NOON, upload=upload("converting")), "converting"),
        (ModelRecord(name="cats", updated=NOON, upload=upload("publishing")), "publishing"),
        (ModelRecord(name="cats", updated=NOON, versions=(V1,), desired=1), "rolling"),
        (ModelRecord(name="cats", updated=NOON, versions=(V1,), desired=1, upload=upload("published")), "rolling"),
        (ModelRecord(name="cats", updated=NOON, versions=(V1,), desired=1, route=ROUTE, rollout=ROLLOUT), "rolling"),
        (ModelRecord(name="cats", updated=NOON, versions=(V1,), desired=1, route=ROUTE), "serving"),
        (ModelRecord(name="cats", updated=NOON, versions=(V1,), desired=1, asleep=True), "asleep"),
        (
            ModelRecord(name="cats", updated=NOON, versions=(V1,), desired=1, route=ROUTE, upload=upload("failed")),
            "failed",
        ),
    ],
)
def test_one_word_tells_where_a_model_stands(record: ModelRecord, state: str) -> None:
    assert state_of(record) == state


def test_a_model_is_shown_whole_and_as_json() -> None:
    record = ModelRecord(
        name="cats", updated=NOON, versions=(V1,), desired=1, route=ROUTE, rollout=ROLLOUT,
        upload=upload("failed", reason="It is no model.", hint="Save it again.", stage="scan"),
    )  # fmt: skip
    timeline = [Stage(stage="scan", started=NOON, seconds=0.5, version=1)]
    shown = json.loads(json.dumps(model_view(record, timeline)))
    assert (shown["version"], shown["desired"], shown["reason"], shown["hint"]) == (
        1, 1, "It is no model.", "Save it again."
    )  # fmt: skip
    assert shown["classify_url"] == "/api/classify/cats"
    assert shown["rollout"] == {
        "version": 1, "step": "Apply", "message": "v1 to 1 replica", "since": NOON.isoformat()
    }  # fmt: skip
    assert "fingerprint" not in shown["upload"] and shown["upload"]["stage"] == "scan"
    assert [version["version"] for version in shown["versions"]] == [1]
    assert [stage["stage"] for stage in shown["timeline"]] == ["scan"]


@pytest.mark.parametrize(
    ("state", "record", "all_asleep", "rung"),
    [
        (AWAKE, {}, False, "awake"),
        (AWAKE, {}, True, "pods"),
        (ClusterState("Running", False, 0, "Succeeded"), {}, True, "pool"),
        (ClusterState("Stopped", False, 0, "Succeeded"), {}, True, "stopped"),
        (AWAKE, {"wakes": {"cats": Wake(started=NOON, rung="pods", by="request")}}, False, "waking"),
    ],
)
def test_the_clusters_rung_is_one_word(
    state: ClusterState, record: dict[str, object], all_asleep: bool, rung: str
) -> None:
    known = ClusterRecord(updated=NOON).but(**record)
    shown = cluster_view(state, known, Stay("in use"), pool="gpu", all_asleep=all_asleep, now=NOON)
    assert shown["state"] == rung


def test_the_pool_tells_what_it_is_going_to() -> None:
    operation = Operation(kind="pool", started=NOON, token="t", target=2)
    record = ClusterRecord(updated=NOON, operation=operation)
    shown = cluster_view(AWAKE, record, Stay("busy"), pool="gpu", all_asleep=False, now=NOON)
    assert shown["pool"] == {"name": "gpu", "count": 1, "wanted": 2}


@pytest.mark.parametrize(
    ("decision", "idle"),
    [
        (Stay("in use"), (None, "in use", None)),
        (Stay("in use", NOON + timedelta(seconds=90)), (None, "in use", 90.0)),
        (Stay("in use", NOON - timedelta(seconds=90)), (None, "in use", 0.0)),
        (SleepModels(("cats", "dogs"), "no request"), ("pods", "cats, dogs: no request", 0)),
        (EmptyPool("all asleep"), ("pool", "all asleep", 0)),
        (StopCluster("empty for long"), ("stopped", "empty for long", 0)),
    ],
)
def test_the_next_rung_is_told_with_its_reason(
    decision: Stay | SleepModels | EmptyPool | StopCluster, idle: tuple[object, ...]
) -> None:
    shown = cluster_view(AWAKE, ClusterRecord(updated=NOON), decision, pool="gpu", all_asleep=False, now=NOON)
    assert tuple(shown["idle"].values()) == idle


def test_the_reference_page_explains_every_state() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "states.md").read_text()
    explained = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", page, flags=re.MULTILINE))))
    words = {state_of(ModelRecord(name="cats", updated=NOON, **fields)) for fields in SHOWN}
    assert explained >= words | set(get_args(UploadState))


SHOWN: list[dict[str, Any]] = [
    {"removed": Removal(at=NOON, uploads=False)},
    {"upload": upload("deleted")},
    {"versions": (V1,), "desired": 1, "asleep": True},
    {"versions": (V1,), "desired": 1},
    {"versions": (V1,), "desired": 1, "route": ROUTE},
    *({"upload": upload(state)} for state in get_args(UploadState)),
]
