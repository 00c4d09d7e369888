"""What all tests of the use cases share."""

import os
import tempfile
from collections.abc import Iterator

import pytest

from deployer.state import State
from tests.fakes import FakeDocuments, World

_MEMORY = "/dev/shm"  # noqa: S108  (each folder in it is made by mkdtemp)


@pytest.fixture(scope="module", autouse=True)
def scratch_in_memory() -> Iterator[None]:
    """Where the system has a folder in memory, conversions work there: these tests make thousands of them."""
    before = tempfile.tempdir
    if os.access(_MEMORY, os.W_OK):
        tempfile.tempdir = _MEMORY
    yield
    tempfile.tempdir = before


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def documents(world: World) -> FakeDocuments:
    return FakeDocuments(world)


@pytest.fixture
def state(world: World, documents: FakeDocuments) -> State:
    return State(documents, world.clock)
