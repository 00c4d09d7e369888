"""A stand-in that several modules of tests share, and a namespace for each test."""

import itertools
from collections.abc import Iterator

import pytest

from localcloud.azurite import Azurite
from tests.functional.aks_stand_in.stand import Namespace, Stand, running

_numbers = itertools.count()


@pytest.fixture(scope="package")
def shared_stand(tmp_path_factory: pytest.TempPathFactory, azurite_server: Azurite) -> Iterator[Stand]:
    """A running stand-in with a system node and a GPU node, for all that leave it as it was."""
    account = list(azurite_server.accounts)[-1]
    with running(tmp_path_factory.mktemp("aks"), azurite_server.connection_string(account)) as stand:
        yield stand


@pytest.fixture
def space(shared_stand: Stand) -> Iterator[Namespace]:
    """A namespace of the test's own, removed after it."""
    namespace = shared_stand.namespace(f"test-{next(_numbers)}")
    yield namespace
    shared_stand.api("DELETE", f"/api/v1/namespaces/{namespace.name}")
