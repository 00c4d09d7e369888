"""The handwritten digits of ``digits.csv.gz`` (see DATA.md), and their pictures."""

import gzip
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SIZE = 8
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAINING = 1400  # the first so many are trained on; the rest are never shown to a model in training

_DATA = Path(__file__).with_name("digits.csv.gz")
_INK = 16


@dataclass(frozen=True)
class Digit:
    """One picture: ``SIZE`` × ``SIZE`` grey values of 0 to 255, row by row, and the class it shows."""

    pixels: bytes
    label: int

    @property
    def name(self) -> str:
        """The class's name, as the model answers it."""
        return NAMES[self.label]


def load() -> list[Digit]:
    """All 1,797 digits, in the order of the data set."""
    with gzip.open(_DATA, "rt", encoding="ascii") as lines:
        rows = [[int(value) for value in line.split(",")] for line in lines]
    return [Digit(bytes(round(value * 255 / _INK) for value in row[:-1]), row[-1]) for row in rows]


def png(digit: Digit) -> bytes:
    """The digit as a grey PNG of its true size (PNG specification, 8-bit greyscale, no filter)."""
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 0, 0, 0, 0)
    rows = (b"\x00" + digit.pixels[start : start + SIZE] for start in range(0, SIZE * SIZE, SIZE))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def drawing(digit: Digit, shades: Sequence[str] = " ░▒▓█") -> list[str]:
    """The digit as lines of text, two characters a pixel."""
    steps = len(shades) - 1
    rows = (digit.pixels[start : start + SIZE] for start in range(0, SIZE * SIZE, SIZE))
    return ["".join(shades[round(value * steps / 255)] * 2 for value in row) for row in rows]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
