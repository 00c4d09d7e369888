"""The demo's models, trained for a benchmark."""

import asyncio
import sys
from pathlib import Path

from localcloud.cloud import REPOSITORY
from localcloud.process import spawn, stop

_TRAINING_SECONDS = 180


async def trained(folder: Path) -> dict[int, bytes]:
    """``digits.keras`` of version 1, worse, and 2, better; made below this folder.

    Raises:
        SystemExit: the training failed; with the end of what it said.
        TimeoutError: it took longer than three minutes.
    """
    training = await spawn(
        [sys.executable, "-m", "demo.train", str(folder / "models")], log=folder / "log", cwd=REPOSITORY
    )
    try:
        async with asyncio.timeout(_TRAINING_SECONDS):
            status = await training.wait()
    finally:
        await stop(training)
    if status != 0:
        raise SystemExit((folder / "log").read_text()[-2000:])
    return {version: (folder / "models" / f"v{version}" / "digits.keras").read_bytes() for version in (1, 2)}
