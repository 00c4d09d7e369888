"""One application and one model server for all tests of this folder."""

import asyncio
from collections.abc import Iterator

import pytest

from localcloud.cloud import LocalCloud, Options
from tests.functional.request_path.served import ModelServer, Served

_SETTINGS = {
    "AzureWebJobs.sweep.Disabled": "true",
    "AzureWebJobs.teardown_idle.Disabled": "true",
    "SLIPWAY_PROXY__MAX_BODY_MB": "1",
    "SLIPWAY_PROXY__MAX_IMAGES": "4",
    "SLIPWAY_PROXY__TIMEOUT_SECONDS": "20",
    "SLIPWAY_PROXY__ROUTE_CACHE_SECONDS": "0.2",
    "SLIPWAY_IDLE__WAKE_PODS_SECONDS": "6",
}


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The application; ``cats`` classifies, ``numbers`` does not. It ends without complaint."""
    data = tmp_path_factory.mktemp("requests")
    cloud = LocalCloud(Options(data=data, aks=False, settings=_SETTINGS))
    server = ModelServer()
    try:
        with asyncio.Runner() as runner:
            runner.run(cloud.__aenter__())
            try:
                found = cloud.endpoints
                assert found.functions_url is not None and found.function_key is not None
                port = int(found.functions_url.rpartition(":")[2])
                made = Served(port, found.function_key, found.storage_connection_string, server)
                made.serve("cats")
                made.serve("numbers", {"serving_default": {}, "embed": {}})
                yield made
            finally:
                runner.run(cloud.__aexit__(None, None, None))
        log = (data / "logs" / "functions.log").read_text()
        assert "Unclosed" not in log and "never retrieved" not in log, log[-4000:]
    finally:
        server.stop()
