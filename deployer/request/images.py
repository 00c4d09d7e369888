"""Encoded images: told by their first bytes, measured by their headers. Pure; decoding happens in the servable.

Sizes are read before anything is decoded, so that a small file cannot make a model server unpack a huge picture.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from deployer.errors import BadRequest

KINDS = "JPEG, PNG, GIF or BMP"
EXAMPLE = (
    'Send the image as the body (Content-Type: image/jpeg), as multipart/form-data, or as JSON {"image": "BASE64"}.'
)

_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP"}
_STRANGERS = {
    b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"%PDF": "PDF", b"<svg": "SVG", b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip", b"\0\0\x01\0": "ICO",
}  # fmt: skip
_BOX_BRANDS = {b"avif": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF"}
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's SOF markers
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass
class _Steps:
    """How far the images of a request are walked, in segments and blocks: a GIF of 36 MB has 150,000 of these."""

    left: int = 150_000

    def more(self) -> bool:
        self.left -= 1
        return self.left > 0


def kind_of(data: bytes) -> str | None:
    """JPEG, PNG, GIF or BMP; None for anything else."""
    return next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)


def check(images: Iterable[tuple[str, bytes]], *, max_pixels: int) -> None:
    """Refuses what is no image, and images that together have too many pixels; each comes with its place in the request.

    Raises:
        BadRequest: ``bad_image`` or ``too_many_pixels``.
    """
    total, steps = 0, _Steps()
    for where, data in images:
        kind = kind_of(data)
        if kind is None:
            raise BadRequest("bad_image", f"{where} is {_named(data)}, no {KINDS} image.", EXAMPLE)
        total += _pixels(kind, data, max_pixels, steps)
        if steps.left <= 0:
            raise BadRequest(
                "bad_image", f"{where} is in more pieces than any {kind} image.", "Save it again with an image program."
            )
        if total > max_pixels:
            raise BadRequest(
                "too_many_pixels", f"With {where}, the images have {total} pixels, and at most {max_pixels} are decoded.",
                "Send smaller images (models see a few hundred pixels a side), or raise SLIPWAY_PROXY__MAX_MEGAPIXELS.",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )  # fmt: skip


def _named(data: bytes) -> str:
    if data[4:8] == b"ftyp" and (brand := _BOX_BRANDS.get(data[8:12])):
        return brand
    return next((f"{kind}" for magic, kind in _STRANGERS.items() if data.startswith(magic)), "something else")


def _pixels(kind: str, data: bytes, enough: int, steps: _Steps) -> int:
    """Pixels of an image, over all its frames, by its header; 0 where a truncated one does not say."""
    match kind:
        case "PNG":
            return _big(data, 16, 4) * _big(data, 20, 4)
        case "JPEG":
            return _jpeg_pixels(data, steps)
        case "GIF":
            return _gif_pixels(data, enough, steps)
        case _:
            if _little(data, 14, 4) == 12:  # OS/2's header
                return _little(data, 18, 2) * _little(data, 20, 2)
            return abs(_signed(data, 18)) * abs(_signed(data, 22))


def _jpeg_pixels(data: bytes, steps: _Steps) -> int:
    """Walks the segments before the scan to the frame header."""
    at = 2
    while at + 9 < len(data) and steps.more():
        if data[at] != 0xFF:
            return 0
        marker = data[at + 1]
        if marker in _FRAME_HEADERS:
            return _big(data, at + 5, 2) * _big(data, at + 7, 2)
        if marker == 0xDA:
            return 0
        at += 1 if marker == 0xFF else 2 if marker in _BARE_MARKERS else 2 + max(2, _big(data, at + 2, 2))
    return 0


def _gif_pixels(data: bytes, enough: int, steps: _Steps) -> int:
    """The canvas or all frames, whichever is more: decoders unpack every frame, shown or not."""
    canvas = _little(data, 6, 2) * _little(data, 8, 2)
    frames, at = 0, 13 + _colours(data, 10)
    while at < len(data) and frames <= enough and steps.more():
        match data[at]:
            case 0x2C:  # a frame: position, size, flags, colours, LZW's code size, blocks
                frames += _little(data, at + 5, 2) * _little(data, at + 7, 2)
                at = _past_blocks(data, at + 11 + _colours(data, at + 9), steps)
            case 0x21:  # an extension: its kind, blocks
                at = _past_blocks(data, at + 2, steps)
            case _:
                break
    return max(canvas, frames)


def _past_blocks(data: bytes, at: int, steps: _Steps) -> int:
    while at < len(data) and data[at] and steps.more():
        at += 1 + data[at]
    return at + 1


def _colours(data: bytes, at: int) -> int:
    """Bytes of the colour table that these flags announce."""
    flags = data[at] if at < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _big(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")


def _little(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _signed(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little", signed=True)
