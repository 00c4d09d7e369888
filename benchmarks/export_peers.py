"""The exporter against ``keras.models.load_model`` + ``model.export``, on models with random weights.

Both sides are processes of their own, run in turns, and the least disturbed run of each counts. Keras loads and writes one
signature. Slipway also scans, asks the model for answers, loads what it wrote as TensorFlow Serving does, compares, makes
and replays warm-up requests, and digests every file; "with images" adds ``classify_image``, verified in the same way. A warm
conversion is a later one in the same converting process, as in a Function App that stays up.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_SECONDS = 600
_ROUNDS = 2
_MIB = 1 << 20

_MODELS = {
    "ResNet50": "keras.applications.ResNet50(weights=None)",
    "InceptionV3": "keras.applications.InceptionV3(weights=None)",
    "small": "keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(16, 3, activation='relu'), "
    "keras.layers.Flatten(), keras.layers.Dense(10, activation='softmax')])",
}
_MAKE = "import keras, sys; {}.save(sys.argv[1])"
_KERAS = """
import json, sys, time, resource
began = time.perf_counter()
import keras
imported = time.perf_counter()
model = keras.models.load_model(sys.argv[1])
model.export(sys.argv[2], verbose=False)
ended = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"total": ended - began, "within": ended - imported, "peak": peak}))
"""


@dataclass(frozen=True)
class Ratio:
    """One claim: what was measured, what of, and what it should not exceed."""

    model: str
    what: str
    ours: float
    theirs: float
    target: float | None
    unit: str

    def __str__(self) -> str:
        ratio = self.ours / self.theirs
        target = "" if self.target is None else f"{self.target:4.2f}"
        verdict = "" if self.target is None else "met" if ratio <= self.target else f"over by {ratio - self.target:.2f}"
        measured = f"{_figure(self.ours, self.unit)} : {_figure(self.theirs, self.unit)}"
        return f"{self.model:12} {self.what:47} {ratio:5.2f}  {target:>6}  {verdict:13} {measured}"


def main() -> None:
    """Measures and prints."""
    folder = Path(tempfile.mkdtemp(prefix="slipway-bench-"))
    try:
        print("Slipway : keras load_model + export")
        print(f"{'model':12} {'what':47} {'ratio':>5}  {'target':>6}  {'':13} measured")
        for model, made_by in _MODELS.items():
            source = folder / f"{model}.keras"
            _python("-c", _MAKE.format(made_by), source)
            for ratio in _ratios(model, source, folder):
                print(ratio, flush=True)
    finally:
        shutil.rmtree(folder)


def _ratios(model: str, source: Path, folder: Path) -> Iterator[Ratio]:
    kerases, ours = [], []
    for _ in range(_ROUNDS):
        shutil.rmtree(folder / "keras", ignore_errors=True)
        kerases.append(_json("-c", _KERAS, source, folder / "keras"))
        ours.append(_json("-m", "benchmarks.slipway_export", source, folder, "10" if model == "small" else "1000"))
    keras_bytes = sum(path.stat().st_size for path in (folder / "keras").rglob("*") if path.is_file())
    total, within = min(one["total"] for one in kerases), min(one["within"] for one in kerases)
    large, resnet = model != "small", model == "ResNet50"

    def least(kind: str, what: str) -> float:
        return float(min(one[kind][what] for one in ours))

    yield Ratio(model, "bytes on disk", least("warm", "bytes"), keras_bytes, 0.52 if large else None, "MB")
    target = 0.8 if resnet else None
    yield Ratio(model, "time without imports", least("warm", "within"), within, target, "s")
    yield Ratio(model, "time without imports, with images", least("both", "within"), within, target, "s")
    yield Ratio(model, "time, first conversion", least("cold", "total"), total, None, "s")
    target = {"ResNet50": 0.45, "small": 0.15}.get(model)
    yield Ratio(model, "time, warm conversion", least("warm", "total"), total, target, "s")
    yield Ratio(model, "time, warm conversion, with images", least("both", "total"), total, target, "s")
    if large:
        child, parent = max(one["child_peak"] for one in ours), max(one["parent_peak"] for one in ours)
        yield Ratio(
            model, "peak memory of the converting process", child, max(one["peak"] for one in kerases), 0.9, "MB"
        )
        yield Ratio(model, "peak memory of the calling process : 150 MiB", parent, 150 * _MIB, 1.0, "MB")
        yield Ratio(model, "scan : warm conversion", least("warm", "scan"), least("warm", "total"), 0.1, "s")


def _figure(value: float, unit: str) -> str:
    return f"{value / 1e6:.1f} MB" if unit == "MB" else f"{value:.2f} s"


def _json(*arguments: str | Path) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_python(*arguments).splitlines()[-1])
    return answer


def _python(*arguments: str | Path) -> str:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], check=True, timeout=_SECONDS, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, cwd=_ROOT, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    ).stdout  # fmt: skip


if __name__ == "__main__":
    main()
