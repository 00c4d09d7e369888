"""The ARM stand-in, quick or so slow that its operations never end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.aks_stand_in.arm import SLOW, Arm


@pytest.fixture
async def arm(tmp_path: Path) -> AsyncIterator[Arm]:
    async with Arm(tmp_path) as running:
        yield running


@pytest.fixture
async def slow_arm(tmp_path: Path) -> AsyncIterator[Arm]:
    async with Arm(tmp_path, SLOW) as running:
        yield running
