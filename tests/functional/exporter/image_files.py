"""Image files written byte by byte, from arrays [height, width, channels] of uint8, after the formats' own descriptions."""

import struct
import zlib

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}


def png(pixels: Pixels) -> bytes:
    """A PNG of grey, grey with alpha, RGB or RGBA (ISO/IEC 15948)."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOURS[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def bmp(pixels: Pixels) -> bytes:
    """An uncompressed bitmap of 24 or 32 bits: rows from below, blue first, each row a multiple of four bytes."""
    height, width, channels = pixels.shape
    order = [2, 1, 0, 3][:channels]
    rows = b"".join(row[:, order].tobytes() + bytes(-width * channels % 4) for row in pixels[::-1])
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8 * channels, 0, len(rows), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + head + rows


def gif(*frames: tuple[int, int, int], side: int) -> bytes:
    """A GIF (89a) of square frames of one colour each, coded without compression: a clear code before each pixel."""
    colours = b"".join(bytes(frame) for frame in frames).ljust(12, b"\0")
    blocks = b"".join(_frame(index, side) for index in range(len(frames)))
    return b"GIF89a" + struct.pack("<HHBBB", side, side, 0x81, 0, 0) + colours + blocks + b";"


def _frame(index: int, side: int) -> bytes:
    clear, end = 4, 5
    codes = [code for _ in range(side * side) for code in (clear, index)] + [end]
    bits = sum(code << (3 * place) for place, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    parts = [data[start : start + 255] for start in range(0, len(data), 255)]
    image = b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02"
    return image + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
