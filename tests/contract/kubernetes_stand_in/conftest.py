"""An API server for each test, ended after it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from localcloud.kubernetes import KubernetesApi
from tests.contract.kubernetes_stand_in.api_client import TOKEN, VIEWER_TOKEN, ApiClient


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    """A running API server; Services get addresses 127.77.0.1, .2 and so on, where nothing listens."""
    given = (f"127.77.0.{last}" for last in range(1, 255))
    server = await KubernetesApi.start(
        tmp_path / "kubernetes", "127.0.0.1", 0, TOKEN, VIEWER_TOKEN, allocate=lambda _: next(given), open_port=0
    )
    yield server
    await server.stop()


@pytest.fixture
async def client(api: KubernetesApi) -> AsyncIterator[ApiClient]:
    """A client with all rights, in a cluster whose default namespace is ready for pods."""
    async with ApiClient(api.url) as opened:
        await opened.until("/api/v1/namespaces/default/serviceaccounts/default", lambda found: "metadata" in found)
        yield opened
