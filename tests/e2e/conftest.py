"""A whole local cloud for each story, and models to drop into it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from localcloud.cloud import REPOSITORY, LocalCloud, Options
from tests.e2e.cloud_user import Client, StartCloud

_TRAINING_SECONDS = 120

# Short times, so that a story about half an hour of idleness takes seconds. What is measured in them stays the same.
QUICK = {
    "SLIPWAY_SCHEDULE__SWEEP": "*/10 * * * * *",
    "SLIPWAY_SCHEDULE__TEARDOWN": "*/2 * * * * *",
    "SLIPWAY_SCHEDULE__SWEEP_GRACE_SECONDS": "20",
    "SLIPWAY_ROLLOUT__LOOK_AGAIN_SECONDS": "1",
    "SLIPWAY_ROLLOUT__DRAIN_SECONDS": "5",
    "SLIPWAY_IDLE__ACTIVITY_SECONDS": "1",
    "SLIPWAY_IDLE__POOL_AFTER_MINUTES": "0.03",
    "SLIPWAY_IDLE__MIN_AWAKE_MINUTES": "0",
}


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the demo's two models: ``v1/digits.keras``, worse, and ``v2/digits.keras``, better; labels beside them."""

    async def train(folder: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "demo.train", str(folder), cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(_TRAINING_SECONDS):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()

    folder = tmp_path_factory.mktemp("digits")
    asyncio.run(train(folder))
    return folder


@pytest.fixture
async def start_cloud(tmp_path: Path) -> AsyncIterator[StartCloud]:
    """Starts a local cloud with these settings, and ends it after the test; on failure its logs are shown."""
    started: list[LocalCloud] = []

    async def start(
        settings: Mapping[str, str] | None = None, *, gpu_nodes: int = 1, aks_arguments: Sequence[str] = ()
    ) -> Client:
        cloud = LocalCloud(
            Options(
                data=tmp_path / "cloud", settings={**QUICK, **(settings or {})},
                aks_arguments=("--gpu-nodes", str(gpu_nodes), *aks_arguments),
            )
        )  # fmt: skip
        await cloud.__aenter__()
        started.append(cloud)
        return Client(cloud.endpoints, tmp_path / "cloud")

    yield start
    for cloud in started:
        await cloud.__aexit__(None, None, None)
