"""Slipway's side of the export benchmark, in a process of its own: prints what its conversions took, as JSON.

Arguments: the model file, a folder to write to, the number of classes.
"""

import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import exporter

_KIB = 1024


def main() -> None:
    """Converts once cold, then warm: twice with the model's own signature, as the peer, and twice with images as well."""
    source, folder, classes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    own = exporter.ExportOptions()
    images = exporter.ExportOptions(labels=tuple(f"class {index}" for index in range(classes)))
    cold = _conversion(source, folder, own)
    warm = min((_conversion(source, folder, own) for _ in range(2)), key=lambda taken: taken["total"])
    both = min((_conversion(source, folder, images) for _ in range(2)), key=lambda taken: taken["total"])
    exporter.shutdown()
    found = {
        "cold": cold,
        "warm": warm,
        "both": both,
        "parent_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB,
        "child_peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KIB,  # the largest of all below
    }
    sys.stdout.write(json.dumps(found))


def _conversion(source: Path, folder: Path, options: exporter.ExportOptions) -> dict[str, Any]:
    destination = folder / "servable"
    began = time.perf_counter()
    report = exporter.scan(source, options)
    scanned = time.perf_counter()
    manifest = exporter.export(report, destination).manifest
    ended = time.perf_counter()
    shutil.rmtree(destination)
    return {
        "scan": scanned - began,
        "total": ended - began,
        "within": sum(seconds for stage, seconds in manifest.timings.items() if stage != "scan"),
        "bytes": manifest.bytes,
    }


if __name__ == "__main__":
    main()
