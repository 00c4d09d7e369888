"""The first chapter: both versions are trained, in a process of its own."""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from demo.claims import check
from demo.errors import DemoError
from demo.show import Show
from localcloud.process import spawn, stop

REPOSITORY = Path(__file__).resolve().parents[1]

_TRAINING_SECONDS = 120.0


@dataclass(frozen=True)
class Trained:
    """The folder with both models, and how good each is on unseen digits."""

    folder: Path
    accuracy: dict[str, float]

    def model(self, version: str) -> bytes:
        """The saved model's bytes."""
        return (self.folder / version / "digits.keras").read_bytes()


async def train(show: Show, folder: Path, log: Path) -> Trained:
    """Trains both versions in a process of its own, which ends with this one."""
    with show.chapter("train", "A data scientist trains a small CNN on 8 × 8 handwritten digits") as chapter:
        show.doing("training")
        began = time.perf_counter()
        process = await spawn([sys.executable, "-m", "demo.train", str(folder)], log=log, cwd=REPOSITORY)
        try:
            status = await asyncio.wait_for(process.wait(), _TRAINING_SECONDS)
        except TimeoutError as error:
            raise DemoError(f"The training took longer than {_TRAINING_SECONDS:.0f} s.") from error
        finally:
            await stop(process)
        check(status == 0, f"the training ends with status 0 (it was {status}; see {log})")
        accuracy: dict[str, float] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        show.done("trained", time.perf_counter() - began, "in a process of its own")
        show.say(
            f"v1, saved too early: {accuracy['v1']:.1%} of unseen digits right; v2, trained on: {accuracy['v2']:.1%}"
        )
        check(accuracy["v2"] > accuracy["v1"], "v2 is better than v1")
        chapter.outcome = f"v1 {accuracy['v1']:.0%}, v2 {accuracy['v2']:.0%} right"
    return Trained(folder, accuracy)
