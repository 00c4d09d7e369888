"""Runs the demo on a fresh local cloud in a temporary folder, and leaves nothing behind.

Exit status: 0 all of it held; 1 something did not, and the folder with the logs is kept; 130 Ctrl-C; 143 SIGTERM.
"""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from demo.errors import DemoError
from demo.show import Show
from demo.story import Story
from demo.training import train
from localcloud.cloud import LocalCloud, Options
from localcloud.errors import LocalCloudError

# What takes minutes by default takes seconds here; nothing else differs from `slipway up`.
SETTINGS = {
    "SLIPWAY_SCHEDULE__SWEEP": "*/10 * * * * *",
    "SLIPWAY_SCHEDULE__TEARDOWN": "*/2 * * * * *",
    "SLIPWAY_IDLE__AFTER_MINUTES": "0.2",
    "SLIPWAY_IDLE__POOL_AFTER_MINUTES": "0.1",
    "SLIPWAY_IDLE__MIN_AWAKE_MINUTES": "0",
    "SLIPWAY_IDLE__ACTIVITY_SECONDS": "1",
    "SLIPWAY_ROLLOUT__LOOK_AGAIN_SECONDS": "1",
    "SLIPWAY_ROLLOUT__DRAIN_SECONDS": "5",
}

_REQUEST_SECONDS = 120.0


async def perform(show: Show, folder: Path) -> None:
    """The whole story; raises ``DemoError`` or ``LocalCloudError`` where it does not hold."""
    show.title(
        "Slipway: a Keras model in, a GPU endpoint out",
        "Everything runs on this machine; nothing outlives this command.",
    )
    trained = await train(show, folder / "training", folder / "cloud" / "logs" / "training.log")
    with show.chapter("start a cloud", "Start a cloud on this machine") as chapter:
        cloud = LocalCloud(Options(data=folder / "cloud", settings=SETTINGS), show.done)
        show.doing("starting")
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(cloud)
            chapter.outcome = cloud.endpoints.functions_url or ""
            running = stack.pop_all()
    async with (
        running,
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS), connector=aiohttp.TCPConnector(limit=0)
        ) as session,
    ):
        story = asyncio.create_task(Story(show, session, cloud.endpoints, trained).play())
        watch = asyncio.create_task(cloud.watch())
        try:
            await asyncio.wait([story, watch], return_when=asyncio.FIRST_COMPLETED)
            if not story.done():
                watch.result()
            await story
        finally:
            for task in (story, watch):
                task.cancel()
            await asyncio.gather(story, watch, return_exceptions=True)


@dataclass
class Interruption:
    """The signal that asked for the end, if any."""

    number: signal.Signals | None = None


async def _until_ended(show: Show, folder: Path, interruption: Interruption) -> None:
    """Performs, and ends in order on Ctrl-C and SIGTERM; asking again does not cut the end short."""
    performing = asyncio.create_task(perform(show, folder))

    def end(number: signal.Signals) -> None:
        if interruption.number is None:
            interruption.number = number
            performing.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    await performing


def main() -> int:
    """Runs the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="The main job, end to end, on one machine.")
    parser.add_argument("--record", type=Path, metavar="FILE", help="save a picture of the run as an SVG")
    arguments = parser.parse_args()
    show = Show(record=arguments.record is not None)
    interruption = Interruption()
    folder = Path(tempfile.mkdtemp(prefix="slipway-demo-"))
    try:
        asyncio.run(_until_ended(show, folder, interruption))
    except (DemoError, LocalCloudError) as error:
        show.failure(str(error), f"The logs are in {folder / 'cloud' / 'logs'}.")
        return 1
    except asyncio.CancelledError:
        if interruption.number is None:
            raise
        show.doing(None)
        print("\nEnded before its time; nothing is left running.", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return 128 + interruption.number
    shutil.rmtree(folder, ignore_errors=True)
    show.summary()
    if arguments.record is not None:
        show.save(arguments.record)
    return 0
