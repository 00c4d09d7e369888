"""A proxy and a model server for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.request.proxied import ModelServer, Slipway, answering


@pytest.fixture
async def slipway() -> AsyncIterator[Slipway]:
    made = Slipway()
    yield made
    await made.proxy.close()


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer(answering) as running:
        yield running
