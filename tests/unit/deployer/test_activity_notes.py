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


async def test_storage_that_fails_hinders_no_request_and_is_asked_again(
    world: World, documents: FakeDocuments, caplog: pytest.LogCaptureFixture
) -> None:
    """Without another request: the one that there was must not be forgotten."""
    world.fail("documents.put", Unavailable("storage", "Storage did not do this."), times=2)
    notes = ActivityNotes(documents, WINDOW, asyncio.get_running_loop().time)
    notes.note("cats")
    await quiet(notes)
    assert caplog.text.count("'cats' was not noted") == 2
    assert puts(world) == ["cats"]


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
    (pending,) = notes._pending.values()
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
