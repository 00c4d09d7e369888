"""The demo's data and its pictures, checked by others' readers."""

import gzip
import hashlib
import struct
import zlib
from collections import Counter
from pathlib import Path

from demo import digits

FOLDER = Path(digits.__file__).parent


def test_the_data_is_the_whole_set_and_its_digest_stands_in_data_md() -> None:
    text = gzip.decompress((FOLDER / "digits.csv.gz").read_bytes())
    assert hashlib.sha256(text).hexdigest() in (FOLDER / "DATA.md").read_text(encoding="utf-8")
    loaded = digits.load()
    assert len(loaded) == 1797
    # The class counts are those that UCI's description of the test set gives (optdigits.names).
    assert [Counter(digit.label for digit in loaded)[label] for label in range(10)] == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip


def test_the_shipped_file_is_small() -> None:
    assert (FOLDER / "digits.csv.gz").stat().st_size <= 100_000


def test_paper_is_0_and_full_ink_is_255() -> None:
    values = Counter(value for digit in digits.load() for value in digit.pixels)
    assert (min(values), max(values), len(values)) == (0, 255, 17)


def test_a_png_holds_the_pixels_as_the_specification_lays_them_out() -> None:
    digit = digits.load()[0]
    png = digits.png(digit)
    assert png[:8] == bytes.fromhex("89504e470d0a1a0a")
    chunks, rest = [], png[8:]
    while rest:
        (length,), kind = struct.unpack(">I", rest[:4]), rest[4:8]
        content, (crc,) = rest[8 : 8 + length], struct.unpack(">I", rest[8 + length : 12 + length])
        assert crc == zlib.crc32(kind + content)
        chunks.append((kind, content))
        rest = rest[12 + length :]
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[0][1]) == (8, 8, 8, 0, 0, 0, 0)
    rows = zlib.decompress(chunks[1][1])
    assert b"".join(rows[start + 1 : start + 9] for start in range(0, 72, 9)) == digit.pixels


def test_a_drawing_has_a_line_for_each_row() -> None:
    lines = digits.drawing(digits.Digit(bytes([0] * 32 + [255] * 32), 0))
    assert lines == [" " * 16] * 4 + ["█" * 16] * 4
