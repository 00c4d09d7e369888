"""Records change by pure functions, under ETag conditions, and are written only where something changed."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from deployer.errors import Conflict, NotFound, SlipwayError
from deployer.glance import glance_of
from deployer.record import (
    KEPT_WAKE_TIMES,
    ClusterRecord,
    ModelRecord,
    RolloutStatus,
    Route,
    VersionRecord,
    wake_begun,
    wake_deepened,
    wake_ended,
)
from deployer.state import State
from deployer.timeline import BATCH, KEPT_STAGES, Stage, merged, stage_done
from tests.fakes import FakeDocuments, Killed, World

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
RECORD = ModelRecord(name="cats", updated=NOON)


def version(number: int, state: str = "published") -> VersionRecord:
    made = VersionRecord(version=number, identity=f"id{number}", state="published", created=NOON)
    return made.but(state=state)


def routed(number: int) -> Route:
    return Route(version=number, address="http://v")


def test_versions_stay_in_order_and_are_replaced_by_number() -> None:
    record = RECORD.with_version(version(2)).with_version(version(1)).with_version(version(2, "failed"))
    assert [(item.version, item.state) for item in record.versions] == [(1, "published"), (2, "failed")]
    assert record.version(2).state == "failed" and record.has(1) and not record.has(3)
    found = record.by_identity("id1")
    assert found is not None and found.version == 1
    with pytest.raises(KeyError, match="cats has no version 3"):
        record.version(3)


def test_a_change_is_validated() -> None:
    with pytest.raises(ValidationError):
        RECORD.but(desired="newest")


@pytest.mark.parametrize(
    ("record", "settled"),
    [
        (RECORD, True),
        (RECORD.but(desired=1), False),
        (RECORD.but(desired=1, route=routed(1)), True),
        (RECORD.but(desired=2, route=routed(1)), False),
        (RECORD.but(desired=1, asleep=True), True),
        (
            RECORD.but(
                desired=1, route=routed(1),
                rollout=RolloutStatus(version=1, started=NOON, step="Retire", since=NOON, looked=NOON),
            ),
            False,
        ),
    ],
)  # fmt: skip
def test_settled_means_that_nothing_remains_to_be_done(record: ModelRecord, settled: bool) -> None:
    assert record.settled == settled


@pytest.mark.parametrize(
    ("record", "to"),
    [
        (RECORD, None),
        (RECORD.but(route=routed(1), previous=3), 1),
        (RECORD.but(route=routed(2), previous=1), 1),
        (RECORD.but(previous=1), 1),
        (RECORD.but(previous=2), None),
        (RECORD.but(versions=(version(1, "serving"), version(2)), previous=3), 1),
        (RECORD.but(versions=(version(1, "retired"), version(2, "serving")), previous=1), 1),
    ],
)
def test_one_goes_back_to_what_serves_or_served_last(record: ModelRecord, to: int | None) -> None:
    assert record.fallback(2) == to


def test_a_wake_is_noted_once_and_only_so_many_are_kept() -> None:
    record = ClusterRecord(updated=NOON)
    for _ in range(KEPT_WAKE_TIMES + 5):
        record = wake_begun(record.but(rung="pool"), "cats", "x", NOON)
        record = wake_ended(record, "cats", NOON + timedelta(seconds=90))
    assert wake_ended(record, "cats", NOON) == record
    assert len(record.wake_times) == KEPT_WAKE_TIMES
    assert record.wake_times[0].seconds == 90 and record.wake is None


def test_each_model_has_a_wake_of_its_own_and_only_whole_ones_are_timed() -> None:
    """One is woken from an empty pool; another joins it on the way; a third, on CPU, serves before either."""
    begun = wake_begun(ClusterRecord(updated=NOON, rung="pool"), "cats", "request", NOON)
    begun = wake_deepened(begun, "cats", "pool", NOON).but(rung=None)
    begun = wake_begun(begun, "dogs", "request", NOON + timedelta(seconds=200))
    assert begun.wakes["dogs"].rung == "pool" and begun.wakes["dogs"].joined
    begun = wake_begun(begun, "dogs", "another", NOON + timedelta(seconds=210))
    assert begun.wakes["dogs"].by == "request"
    ended = wake_ended(begun, "dogs", NOON + timedelta(seconds=300))
    assert ended.wakes.keys() == {"cats"} and ended.wake_times == ()
    ended = wake_ended(ended, "cats", NOON + timedelta(seconds=420))
    assert [(time.rung, time.seconds, time.model) for time in ended.wake_times] == [("pool", 420, "cats")]
    assert ended.wake is None


def test_a_wake_that_was_given_up_or_ended_before_it_began_is_not_timed() -> None:
    begun = wake_begun(ClusterRecord(updated=NOON), "cats", "request", NOON)
    assert wake_ended(begun, "cats", NOON + timedelta(seconds=9), serves=False).wake_times == ()
    assert wake_ended(begun, "cats", NOON - timedelta(seconds=9)).wake_times == ()


def test_stages_are_kept_once_each() -> None:
    first = stage_done("scan", NOON, NOON + timedelta(seconds=1.23456))
    again = stage_done("scan", NOON, NOON + timedelta(seconds=9), failed=True)
    other = stage_done("scan", NOON + timedelta(seconds=5), NOON + timedelta(seconds=6))
    assert (first.seconds, first.outcome, again.outcome) == (1.235, "done", "failed")
    assert merged([first], [again, other]) == (first, other)


# Under conditions -----------------------------------------------------------------------------------------------------


def test_a_record_is_made_stamped_and_listed(world: World, state: State) -> None:
    assert state.find("cats") is None
    world.pass_time(60)
    assert state.change("cats", lambda record: record.but(desired=1)).updated == world.now
    assert list(state.models()) == ["cats"]
    assert state.model("cats").desired == 1


def test_what_does_not_change_is_not_written(world: World, state: State) -> None:
    state.change("cats", lambda record: record.but(desired=1))
    before, etag = len(world.changes()), state.model("cats").updated
    world.pass_time(60)
    state.change("cats", lambda record: record.but(desired=1))
    assert len(world.changes()) == before
    assert state.model("cats").updated == etag


def test_a_change_is_made_again_on_what_another_wrote(state: State, documents: FakeDocuments) -> None:
    state.change("cats", lambda record: record)
    seen: list[int | None] = []

    def change(record: ModelRecord) -> ModelRecord:
        if not seen:  # another instance writes between our reading and writing
            other = record.but(previous=7).model_dump_json().encode()
            documents.store("models/cats.json", other)
        seen.append(record.previous)
        return record.but(desired=1)

    after = state.change("cats", change)
    assert seen == [None, 7]
    assert (after.desired, after.previous) == (1, 7)


def test_two_that_make_a_record_at_once_both_have_their_change(state: State, documents: FakeDocuments) -> None:
    def change(record: ModelRecord) -> ModelRecord:
        if documents.read("models/cats.json") is None:
            state.change("cats", lambda other: other.but(previous=7))
        return record.but(desired=1)

    after = state.change("cats", change)
    assert (after.desired, after.previous) == (1, 7)


def test_others_that_never_cease_are_given_way_to(world: World, state: State) -> None:
    world.fail("documents.write", Conflict("conflict", "written", ""), times=1000)
    with pytest.raises(Conflict, match="in a row") as refused:
        state.change("cats", lambda record: record)
    assert refused.value.code == "busy"


def test_an_unknown_model_is_told_by_name(state: State) -> None:
    with pytest.raises(NotFound, match="no model 'dogs'"):
        state.model("dogs")


@pytest.mark.parametrize("text", [b"", b"{", b"{}", json.dumps({"name": "cats", "colour": 1}).encode()])
def test_a_damaged_record_is_named_and_not_overwritten(state: State, documents: FakeDocuments, text: bytes) -> None:
    documents.store("models/cats.json", text)
    with pytest.raises(SlipwayError, match=r"models/cats\.json") as refused:
        state.change("cats", lambda record: record.but(desired=1))
    assert refused.value.code == "bad_state"
    assert documents.blobs["models/cats.json"].data == text


def test_stages_move_out_of_the_record_and_each_is_kept_once(state: State, documents: FakeDocuments) -> None:
    for number in range(100):
        stage = Stage(stage="scan", started=NOON + timedelta(seconds=number), seconds=1, version=1 + number % 2)
        state.change("cats", lambda record, stage=stage: record.with_stages(stage, stage))  # type: ignore[misc]  # bound
    assert len(state.model("cats").stages) <= KEPT_STAGES
    for version in (1, 2):
        found = [stage.started for stage in state.timeline("cats", version)]
        assert len(found) == 50 and found == sorted(set(found))
    assert state.timeline("cats", 3) == state.timeline("dogs", 1) == ()
    state.forget_timelines("cats")
    assert not [name for name in documents.blobs if name.startswith("timelines/")]


def decide(state: State, number: int) -> None:
    state.change("cats", lambda record: record.noting(NOON, "test", f"decision {number}", "because"))


def test_the_history_is_whole_in_order_and_stored_once(state: State, documents: FakeDocuments, world: World) -> None:
    for number in range(1, 101):
        decide(state, number)
    record = state.model("cats")
    assert len(record.decisions) <= 2 * BATCH
    history = state.history(record, newest=1000)
    assert [item.number for item in history] == list(range(1, 101))
    assert [item.what for item in history] == [f"decision {number}" for number in range(1, 101)]
    assert [item.number for item in state.history(record, newest=3)] == [98, 99, 100]
    stored = [effect.subject for effect in world.changes() if effect.subject.startswith("history/")]
    assert stored == sorted(set(stored))  # no document of it is ever written again
    assert state.decided("cats") >= 100 - 2 * BATCH


@pytest.mark.parametrize("where", range(1, 6))
def test_a_kill_while_decisions_move_out_loses_none_and_doubles_none(state: State, world: World, where: int) -> None:
    for number in range(1, 2 * BATCH + 1):
        decide(state, number)
    world.kill_at(len(world.changes()) + where)
    for number in range(2 * BATCH + 1, 2 * BATCH + 10):
        try:
            decide(state, number)
        except Killed:
            if state.model("cats").decided < number:
                decide(state, number)
    assert [item.what for item in state.history(state.model("cats"), newest=1000)] == [
        f"decision {number}" for number in range(1, 2 * BATCH + 10)
    ]


def test_a_listing_tells_the_sweep_what_it_needs(state: State, documents: FakeDocuments, world: World) -> None:
    record = state.change("cats", lambda before: before.but(desired=1))
    (glance,) = state.glances()
    assert glance == glance_of(record) and not glance.settled
    documents.blobs["models/cats.json"].metadata.clear()  # written by an earlier Slipway
    assert list(state.glances()) == [glance]
