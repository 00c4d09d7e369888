"""The exporter against ``keras.models.load_model`` + ``model.export``, on ResNet50 with random weights.

Each peer is a process of its own, everything counted: imports, loading, writing. Slipway also scans, verifies what it wrote
by loading it as TensorFlow Serving does, and digests it; Keras does none of that. The warm conversion is the second in one
converting process, as in a Function App that stays up.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import exporter

_MAKE = "import keras, sys; keras.applications.ResNet50(weights=None).save(sys.argv[1])"
_KERAS = "import keras, sys; keras.models.load_model(sys.argv[1]).export(sys.argv[2], verbose=False)"
_SECONDS = 600


def main() -> None:
    """Measures and prints."""
    folder = Path(tempfile.mkdtemp(prefix="slipway-bench-"))
    try:
        source = folder / "resnet50.keras"
        _python(_MAKE, source)
        keras_seconds = _python(_KERAS, source, folder / "keras")
        cold, _ = _slipway(source, folder / "cold")
        warm, servable = _slipway(source, folder / "warm")
        exporter.shutdown()
        keras_bytes = sum(path.stat().st_size for path in (folder / "keras").rglob("*") if path.is_file())
        print("export of ResNet50 (random weights), Slipway : keras load_model + export")
        ours = servable.manifest.bytes
        print(f"  bytes on disk           {ours / keras_bytes:5.2f}   ({ours:,} : {keras_bytes:,})")
        print(f"  time, first conversion  {cold / keras_seconds:5.2f}   ({cold:.1f} s : {keras_seconds:.1f} s)")
        print(f"  time, warm conversion   {warm / keras_seconds:5.2f}   ({warm:.1f} s : {keras_seconds:.1f} s)")
    finally:
        shutil.rmtree(folder)


def _slipway(source: Path, destination: Path) -> tuple[float, exporter.VerifiedServable]:
    began = time.perf_counter()
    servable = exporter.export(exporter.scan(source, exporter.ExportOptions()), destination)
    return time.perf_counter() - began, servable


def _python(program: str, *arguments: Path) -> float:
    """Seconds that a Python process of its own takes for the program."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], check=True, timeout=_SECONDS, capture_output=True
    )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
