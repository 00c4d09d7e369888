"""A request is noted at most once per window, at no cost to the request, and never lost within it."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta

import pytest

from deployer.activity import ActivityNotes, gather, last_requests
from deployer.errors import Unavailable
from tests.fakes import FakeDocuments, Killed, World

WINDOW = 0.05


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def documents(world: World) -> FakeDocuments:
    return FakeDocuments(world)


async def quiet(notes: ActivityNotes) -> None:
    """Waits for the note on its way."""
    while notes._pending is not None:
        await asyncio.wait([notes._pending])


def puts(world: World) -> int:
    return sum(effect.name == "documents.put" for effect in world.changes())


async def test_a_first_request_is_noted_at_once(world: World, documents: FakeDocuments) -> None:
    notes = ActivityNotes(documents, 3600, lambda: 0.0)
    notes.note("cats")
    await quiet(notes)
    assert last_requests(documents) == {"cats": world.now}


async def test_many_requests_are_two_notes_at_most_in_a_window(world: World, documents: FakeDocuments) -> None:
    """One at the window's beginning, one at its end for all that came in it."""
    notes = ActivityNotes(documents, WINDOW, asyncio.get_running_loop().time)
    for _ in range(100):
        notes.note("cats")
    await quiet(notes)
    for _ in range(100):
        notes.note("cats")
    assert puts(world) == 1
    await quiet(notes)
    assert puts(world) == 2


async def test_an_instance_keeps_one_note_however_many_models_it_answers_for(
    world: World, documents: FakeDocuments
) -> None:
    """Each model with its own time, which the clock of storage and the ages in the note give."""
    notes = ActivityNotes(documents, 0, lambda: world.clock().timestamp())
    for number in range(100):
        notes.note(f"model-{number}")
        await quiet(notes)
        world.pass_time(1)
    assert len(documents.blobs) == 1
    found = last_requests(documents)
    assert found["model-99"] - found["model-0"] == timedelta(seconds=99)
    assert found["model-99"] == world.now - timedelta(seconds=1)


async def test_a_request_during_a_write_is_noted_after_it(world: World, documents: FakeDocuments) -> None:
    notes = ActivityNotes(documents, WINDOW, asyncio.get_running_loop().time)
    world.watch = lambda effect: loop.call_soon_threadsafe(notes.note, "dogs") if effect.number == 1 else None
    loop = asyncio.get_running_loop()
    notes.note("cats")
    await quiet(notes)
    assert last_requests(documents).keys() == {"cats", "dogs"}


async def test_storage_that_fails_hinders_no_request_and_is_asked_again(
    world: World, documents: FakeDocuments, caplog: pytest.LogCaptureFixture
) -> None:
    """Without another request: the one that there was must not be forgotten."""
    world.fail("documents.put", Unavailable("storage", "Storage did not do this."), times=2)
    notes = ActivityNotes(documents, WINDOW, asyncio.get_running_loop().time)
    notes.note("cats")
    await quiet(notes)
    assert caplog.text.count("'cats' was not noted") == 2
    assert last_requests(documents).keys() == {"cats"}


@pytest.mark.parametrize("last", [0, 1, 1800, 3599])
async def test_an_instance_that_is_lost_leaves_a_note_at_most_one_window_old(
    world: World, documents: FakeDocuments, last: int
) -> None:
    """Its last request was ``last`` seconds into a window of an hour; what was pending is lost with it."""
    notes = ActivityNotes(documents, 3600, lambda: world.clock().timestamp())
    notes.note("cats")
    await quiet(notes)
    world.pass_time(last)
    notes.note("cats")
    assert notes._pending is not None
    pending = notes._pending
    pending.cancel()
    await asyncio.wait([pending])
    (noted,) = last_requests(documents).values()
    assert (world.now - noted).total_seconds() <= 3600


async def test_a_request_after_its_window_is_noted_at_once(world: World, documents: FakeDocuments) -> None:
    notes = ActivityNotes(documents, 3600, lambda: world.clock().timestamp())
    for _ in range(3):
        notes.note("cats")
        await quiet(notes)
        assert last_requests(documents) == {"cats": world.now}
        world.pass_time(3600)


def note(documents: FakeDocuments, instance: str, **ages: float) -> None:
    documents.store(f"activity/{instance}.json", json.dumps(ages).encode())


def test_the_newest_note_of_all_instances_counts(world: World, documents: FakeDocuments) -> None:
    note(documents, "one", cats=0)
    world.pass_time(60)
    note(documents, "two", cats=5, dogs=20)
    documents.put("models/mice.json", b"")
    found = last_requests(documents)
    assert found == {"cats": world.now - timedelta(seconds=5), "dogs": world.now - timedelta(seconds=20)}


def test_notes_of_an_earlier_slipway_count(world: World, documents: FakeDocuments) -> None:
    documents.put("activity/cats/one", b"")
    world.pass_time(60)
    documents.put("activity/cats/two", b"")
    note(documents, "three", cats=30, dogs=30)
    assert last_requests(documents) == {"cats": world.now, "dogs": world.now - timedelta(seconds=30)}


def test_silent_notes_are_gathered_into_one_and_tell_the_same(world: World, documents: FakeDocuments) -> None:
    documents.put("activity/mice/old", b"")
    for number in range(50):
        note(documents, f"gone-{number}", cats=number, **{f"model-{number}": 0})
        world.pass_time(60)
    world.pass_time(3600)
    note(documents, "alive", dogs=1)
    before = last_requests(documents)
    gather(documents, world.now)
    assert last_requests(documents) == before
    assert sorted(documents.blobs) == ["activity/alive.json", "activity/earlier.json"]
    world.pass_time(3700)
    gather(documents, world.now)
    assert last_requests(documents) == before and list(documents.blobs) == ["activity/earlier.json"]


def test_a_note_that_is_written_while_it_is_gathered_stays(world: World, documents: FakeDocuments) -> None:
    note(documents, "slow", cats=0)
    world.pass_time(4000)
    world.watch = lambda effect: note(documents, "slow", cats=0) if effect.name == "documents.write" else None
    gather(documents, world.now)
    assert last_requests(documents) == {"cats": world.now}


def test_a_gathering_that_is_killed_loses_nothing(world: World, documents: FakeDocuments) -> None:
    for number in range(3):
        note(documents, f"gone-{number}", **{f"model-{number}": 0})
    world.pass_time(4000)
    before = last_requests(documents)
    for number in range(1, 5):
        world.kill_at(len(world.changes()) + number)
        with suppress(Killed):
            gather(documents, world.now)
        world.faults.clear()
        assert last_requests(documents) == before


@pytest.mark.parametrize("spoiled", [b"", b"[]", b'{"cats": "soon"}'])
def test_a_note_that_was_spoiled_is_told_in_the_log_and_hinders_no_other(
    documents: FakeDocuments, world: World, caplog: pytest.LogCaptureFixture, spoiled: bytes
) -> None:
    documents.store("activity/spoiled.json", spoiled)
    documents.store("activity/earlier.json", spoiled)
    note(documents, "whole", dogs=0)
    assert last_requests(documents) == {"dogs": world.now}
    assert caplog.text.count("is no note of requests") == 2
