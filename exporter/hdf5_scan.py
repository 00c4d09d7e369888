"""HDF5 files, checked before anything reads their values: no value lies elsewhere, none is larger than the file has room for.

libhdf5 follows links into other files, reads external storage, loads filter plugins and reserves whatever size a dataset
declares; so what may be in a file is listed first, by ``hdf5_walk``, in a process of its own that may crash or be ended, and
that is confined as a conversion is before it reads the first byte.
"""

import atexit
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from exporter.errors import ExportError, Finding, NotAModel, ScanRefused, Stage, TimedOut
from exporter.limits import MIB, ScanBounds
from exporter.sandbox import interpreter
from exporter.spare import Spare
from exporter.worker import environment

WALKER = Spare(Path(__file__).with_name("hdf5_walk.py"))
atexit.register(WALKER.close)

_SECONDS = 60
_MEMORY = 2048 * MIB
_OBJECTS = 200_000
"""Groups and datasets; a model of a thousand layers has some ten thousand."""


@dataclass(frozen=True)
class Hdf5File:
    """What a harmless file says of itself: text attributes of its root, and the names of its top groups."""

    attributes: dict[str, str | None]
    top: tuple[str, ...]


def check(path: Path, *, name: str, bounds: ScanBounds, part: tuple[int, int] | None = None) -> Hdf5File:
    """Looks through the HDF5 file at ``path``, or at ``part`` of it (offset, length), and calls it ``name``.

    Raises:
        NotAModel: it is damaged, or no HDF5 at all.
        ScanRefused: it refers to other files, loads code or declares more than it holds.
        TimedOut: it took too long.
    """
    offset, length = part or (0, path.stat().st_size)
    request = {
        "offset": offset,
        "bytes": length,
        "unpacked_bytes": bounds.unpacked_bytes,
        "attribute_bytes": bounds.config_bytes,
        "ratio": bounds.ratio,
        "objects": _OBJECTS,
        "cpu_seconds": _SECONDS,
        "memory_bytes": _MEMORY,
        "readable": [str(folder) for folder in interpreter()],
    }
    try:
        with path.open("rb") as file:
            status, output = WALKER.ask(request, file, environment=_environment(), seconds=_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise TimedOut(
            f"Looking through '{name}' took longer than {_SECONDS} seconds.",
            hint="Save the model again; if it is genuine and the machine was busy, upload it again.",
            stage=Stage.SCAN,
        ) from error
    if status != 0:
        raise _damaged(name, f"reading it ended with status {status}")
    answer = json.loads(output)
    if reason := answer.get("damaged"):
        raise _damaged(name, reason)
    if answer["findings"]:
        raise _refused(name, [Finding(f"{name}:{where}", what) for where, what in answer["findings"]])
    return Hdf5File(answer["attributes"], tuple(answer["top"]))


def _environment() -> dict[str, str]:
    return environment() | {"HDF5_PLUGIN_PATH": "/dev/null", "HDF5_PLUGIN_PRELOAD": "::"}


def _refused(name: str, findings: list[Finding]) -> ScanRefused:
    return ScanRefused(
        f"'{name}' is refused: {findings[0]}" + (f" (and {len(findings) - 1} more)." if findings[1:] else "."),
        hint="Save the model again with model.save('NAME.keras'), which keeps all values in the file itself.",
        code="unsafe_hdf5",
        findings=findings,
    )


def _damaged(name: str, reason: str) -> ExportError:
    return NotAModel(
        f"'{name}' is a damaged HDF5 file ({reason}).",
        hint="It was probably cut short on its way: upload it again, and compare its size with the original's.",
        stage=Stage.SCAN,
        code="truncated_hdf5",
    )
