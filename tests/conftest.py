"""Fixtures that several folders of tests share. What they start has ended when the test, or the session, has."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from localcloud import azurite as azurite_module
from localcloud.azurite import Azurite
from tests import hosts

_ACCOUNTS = 400
_taken = itertools.count()


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """One Azurite for the whole session, with an account for each test that asks for one."""
    folder = tmp_path_factory.mktemp("azurite")
    key = azurite_module.make_key()
    accounts = {f"test{number}": key for number in range(_ACCOUNTS)}
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        server = runner.run(azurite_module.start(folder / "data", folder / "azurite.log", accounts=accounts))
        yield server
        runner.run(server.stop())


@pytest.fixture
def azurite(azurite_server: Azurite) -> str:
    """The connection string of a storage account that no other test uses."""
    return azurite_server.connection_string(f"test{next(_taken)}")


@pytest.fixture
def container_name() -> str:
    """A name for a container or a queue that nothing else has."""
    return f"c{uuid.uuid4().hex[:20]}"


@pytest.fixture
async def start_host(tmp_path: Path, azurite: str) -> AsyncIterator[hosts.StartHost]:
    """Starts a Functions host around a sample app and waits until it listens; every host is ended after the test.

    Called without ``source``, it starts one more on the app, the data and the records of the one before.
    """
    started: list[hosts.HostProcess] = []

    async def start(
        source: str | None = None,
        *,
        host_json: Mapping[str, object] | None = None,
        settings: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        wait: bool = True,
    ) -> hosts.HostProcess:
        if source is not None:
            hosts.write_app(tmp_path / "app", source, host_json)
        host = await hosts.start(tmp_path, azurite, settings, arguments)
        started.append(host)
        return await hosts.until_ready(host) if wait else host

    yield start
    for host in started:
        await host.stop()
