"""Image files by their headers only: as many pixels as one likes in a few bytes; what follows is not looked at here."""

import struct

REST = bytes(range(256))  # its base64 has both '+' and '/'


def png(width: int = 2, height: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + REST


def jpeg(width: int = 2, height: int = 2, *, before: bytes = b"") -> bytes:
    """``before``: segments between the beginning and the frame header."""
    app0 = b"\xff\xe0" + struct.pack(">H", 16) + bytes(14)
    frame = b"\xff\xc0" + struct.pack(">HBHH", 17, 8, height, width) + bytes(10)
    return b"\xff\xd8" + app0 + before + frame + b"\xff\xda" + REST


def gif(width: int = 2, height: int = 2, *, frames: int = 1, canvas: tuple[int, int] = (2, 2)) -> bytes:
    """``frames`` of this size on a canvas of another, with a colour table of two and a comment."""
    head = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + bytes(6)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00"
    return head + b"\x21\xfe\x03abc\x00" + frame * frames + b"\x3b"


def bmp(width: int = 2, height: int = 2) -> bytes:
    return b"BM" + struct.pack("<IHHI", 300, 0, 0, 54) + struct.pack("<Iii", 40, width, height) + REST


def old_bmp(width: int, height: int) -> bytes:
    """With OS/2's header."""
    return b"BM" + struct.pack("<IHHI", 300, 0, 0, 26) + struct.pack("<IHH", 12, width, height) + REST
