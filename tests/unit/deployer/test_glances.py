"""What one listing tells of every model: enough to leave those alone that need nothing, and never older than the record."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import standing
from deployer.errors import SlipwayError
from deployer.glance import KEY, glance_of, metadata_of, told_by
from deployer.options import IdleOptions, Replicas, ServeOptions
from deployer.record import Bridge, ModelRecord, Removal, Route, Setback, UploadStatus, VersionRecord
from deployer.resolution import newest_uploads
from deployer.state import State
from deployer.windows import Window
from tests.deployed import Deployed
from tests.fakes import FakeDocuments, World

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
WINDOW = Window(cron="0 8 * * mon-fri", hours=10, zone="Europe/Berlin")


def record(**fields: object) -> ModelRecord:
    return ModelRecord(name="cats", updated=NOON).but(**fields)


def version(number: int, **serve: object) -> VersionRecord:
    options = ServeOptions.model_validate(serve)
    return VersionRecord(version=number, identity="a", state="serving", created=NOON, serve=options)


uploads = st.builds(
    UploadStatus, blob=st.text(), etag=st.just("1"), fingerprint=st.text(alphabet="0123456789abcdef", max_size=64),
    state=st.sampled_from(["scanning", "failed", "serving"]), at=st.just(NOON), reason=st.none() | st.text(max_size=300),
    hint=st.none() | st.text(max_size=300), due=st.none() | st.just(NOON),
)  # fmt: skip
records = st.builds(
    ModelRecord, name=st.just("cats"), updated=st.just(NOON), upload=st.none() | uploads,
    versions=st.just((version(1, gpus=2, replicas=3, idle=IdleOptions(keep_awake=(WINDOW,), after_minutes=5)),)),
    desired=st.none() | st.just(1) | st.just(2), asleep=st.booleans(),
    route=st.none() | st.just(Route(version=1, address="http://10.0.0.1:8501")),
    bridge=st.none() | st.just(Bridge(version=1, address="http://10.0.0.2:8501")),
    changed_rung=st.none() | st.just(NOON + timedelta(hours=1)),
    removed=st.none() | st.builds(Removal, at=st.just(NOON), uploads=st.booleans(), done=st.booleans()),
    setback=st.none() | st.builds(Setback, times=st.just(1), reason=st.text(max_size=300), until=st.just(NOON)),
)  # fmt: skip


@given(records)
def test_metadata_tells_all_that_the_record_would_or_nothing(made: ModelRecord) -> None:
    """And Azure takes it: ASCII, within 8 KiB, and no run of spaces that the signature of a request would not survive."""
    metadata = metadata_of(made)
    assert told_by(metadata) in (glance_of(made), None)
    (text,) = metadata.values()
    assert text.isascii() and text.isprintable() and len(text) < 7000
    assert "  " not in text and text.strip() == text


def test_what_a_model_needs_of_the_ladder_is_in_it() -> None:
    idle = IdleOptions(after_minutes=5, keep_awake=(WINDOW,), days_off=(date(2026, 12, 25),))
    made = record(
        versions=(version(1), version(2, gpus=2, replicas=Replicas(min=3, max=4), idle=idle)), desired=2,
        changed_rung=NOON + timedelta(hours=2),
    )  # fmt: skip
    glance = told_by(metadata_of(made))
    assert glance is not None
    assert (glance.gpus, glance.idle, glance.used) == (6, idle, NOON + timedelta(hours=2))


def test_a_version_that_nothing_is_known_of_is_taken_for_one_on_a_gpu() -> None:
    """So that no pool goes for it."""
    assert glance_of(record(desired=7)).gpus == 1
    assert glance_of(record()).gpus == 0


def test_what_is_too_long_for_metadata_is_read_whole() -> None:
    days = tuple(date(2026, 1, 1) + timedelta(days=number) for number in range(1000))
    made = record(versions=(version(1, idle=IdleOptions(days_off=days)),), desired=1)
    assert told_by(metadata_of(made)) is None and metadata_of(made)[KEY] == "-"


# In the state container -----------------------------------------------------------------------------------------------


def calls(world: World, before: int) -> list[str]:
    return [effect.name for effect in world.effects if effect.call > before]


def test_one_listing_tells_of_all_models(state: State, world: World) -> None:
    for number in range(20):
        state.change(f"model-{number}", lambda record: record.but(asleep=True))
    before = world.calls
    assert len(list(state.glances())) == 20
    assert calls(world, before) == ["documents.list"]


@pytest.mark.parametrize(
    "metadata",
    [{}, {"glance": '{"name":"cats"}'}, {KEY: "{"}, {KEY: '{"name":"cats"}'}, {KEY: "-"}],
    ids=["none", "older", "torn", "fewer fields", "too long"],
)
def test_a_record_whose_metadata_does_not_tell_is_read_whole(
    state: State, documents: FakeDocuments, metadata: dict[str, str]
) -> None:
    made = state.change("cats", lambda record: record.but(desired=1))
    documents.blobs["models/cats.json"].metadata = metadata
    assert list(state.glances()) == [glance_of(made)]


def test_the_sweep_brings_the_records_of_an_earlier_slipway_up_to_date_once() -> None:
    deployed = Deployed().drop("cats.keras", "one")
    blob = deployed.documents.blobs["models/cats.json"]
    before, blob.metadata = deployed.record("cats"), {"glance": '{"name":"cats"}'}
    for looks in (1, 0):
        called = deployed.world.calls
        deployed.sweep.run()
        assert calls(deployed.world, called).count("documents.read") == looks
    assert deployed.record("cats") == before


def test_a_record_that_another_writes_while_it_is_brought_up_to_date_is_left_as_written(
    state: State, documents: FakeDocuments, world: World
) -> None:
    state.change("cats", lambda record: record.but(desired=1))
    documents.blobs["models/cats.json"].metadata = {}
    other = record(desired=2).model_dump_json().encode()
    world.watch = lambda effect: documents.store("models/cats.json", other) if effect.name == "documents.read" else None
    list(state.glances(renew=True))
    assert state.model("cats").desired == 2


def test_a_damaged_record_is_left_out_or_an_error_as_is_asked(
    state: State, documents: FakeDocuments, caplog: pytest.LogCaptureFixture
) -> None:
    state.change("cats", lambda record: record)
    documents.store("models/dogs.json", json.dumps({"name": "dogs", "colour": 1}).encode())
    assert [glance.name for glance in state.glances()] == ["cats"]
    assert "models/dogs.json" in caplog.text
    with pytest.raises(SlipwayError, match=r"models/dogs\.json"):
        list(state.glances(strict=True))


# What looks cost ------------------------------------------------------------------------------------------------------


def costs(models: int, *, asleep: bool) -> dict[str, list[str]]:
    """The storage calls of one sweep, one idle check and the views, where nothing is to be done."""
    deployed = Deployed()
    names = [f"model-{number:03d}" for number in range(models)]
    for name in names:
        deployed.store.drop(f"{name}.keras", name, event=False)
    for upload in newest_uploads(deployed.store.listing("")).values():
        deployed.state.restore(standing(upload, deployed.world.now - timedelta(hours=2), asleep=asleep))
    deployed.documents.store("activity/one.json", json.dumps(dict.fromkeys(names, 0)).encode())
    for _ in range(3):
        deployed.tick()
        deployed.sweep.run()
    looks = {
        "sweep": deployed.sweep.run, "idle check": deployed.teardown.run, "models": deployed.control.models,
        "cluster": deployed.control.cluster,
    }  # fmt: skip
    found = {}
    for name, look in looks.items():
        before = deployed.world.calls
        look()
        found[name] = [call for call in calls(deployed.world, before) if call.startswith(("documents.", "uploads."))]
    return found


@pytest.mark.parametrize("asleep", [True, False], ids=["asleep", "awake"])
def test_looks_at_which_nothing_is_to_be_done_cost_the_same_for_10_models_and_for_60(asleep: bool) -> None:
    few, many = costs(10, asleep=asleep), costs(60, asleep=asleep)
    assert few == many
    assert few["models"] == ["documents.list"]
