"""A request is noted at most once per window, at no cost to the request, and never lost within it."""

import asyncio

import pytest

from deployer.activity import ActivityNotes, last_requests
from deployer.errors import Unavailable
from tests.fakes import FakeDocuments, World

WINDOW = 0.05


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def documents(world: World) -> FakeDocuments:
    return FakeDocuments(world)


async def quiet(notes: ActivityNotes) -> None:
    """Waits for the notes on their way."""
    while notes._pending:
        await asyncio.gather(*notes._pending.values())


def puts(world: World) -> list[str]:
    return [effect.subject.split("/")[1] for effect in world.changes()]


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
    assert puts(world) == ["cats"]
    await quiet(notes)
    assert puts(world) == ["cats", "cats"]


async def test_models_are_noted_apart(world: World, documents: FakeDocuments) -> None:
    notes = ActivityNotes(documents, 3600, lambda: 0.0)
    notes.note("cats")
    notes.note("dogs")
    await quiet(notes)
    assert sorted(puts(world)) == ["cats", "dogs"]


async def test_storage_that_fails_hinders_no_request(
    world: World, documents: FakeDocuments, caplog: pytest.LogCaptureFixture
) -> None:
    world.fail("documents.put", Unavailable("storage", "Storage did not do this."))
    notes = ActivityNotes(documents, WINDOW, asyncio.get_running_loop().time)
    notes.note("cats")
    await quiet(notes)
    assert "'cats' was not noted" in caplog.text
    notes.note("cats")
    await quiet(notes)
    assert puts(world) == ["cats"]


def test_the_newest_note_of_all_instances_counts(world: World, documents: FakeDocuments) -> None:
    documents.put("activity/cats/one", b"")
    world.pass_time(60)
    documents.put("activity/cats/two", b"")
    world.pass_time(60)
    documents.put("activity/dogs/one", b"")
    documents.put("models/mice.json", b"")
    found = last_requests(documents)
    assert found.keys() == {"cats", "dogs"}
    assert (found["dogs"] - found["cats"]).total_seconds() == 60
