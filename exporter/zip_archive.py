"""Zip files from strangers: checked before any byte is unpacked, then unpacked within what they declared."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.archive_rules import Member, accepted, damaged, plain_name, refused
from exporter.errors import Finding
from exporter.limits import KIB, MIB, ScanBounds

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")

_BROKEN = (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, zlib.error, struct.error)
_PIECE = 1 * MIB
_END, _END_BYTES = b"PK\x05\x06", 22
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_END_64_BYTES = 56
_PER_MEMBER = 1 * KIB
"""Of the table of contents: names, and what else zip keeps of a member, are far shorter."""


def list_members(path: Path, bounds: ScanBounds) -> list[Member]:
    """The files in a zip, once none of them could leave its folder or fill the disk.

    Raises:
        NotAModel: it is cut short or no zip.
        ScanRefused: a member is absolute, climbs out, is a link, encrypted or there twice, or they inflate beyond
            ``bounds``.
    """
    _require_short_table(path, bounds)
    with _opened(path) as archive:
        found = archive.infolist()
    return accepted(path, [_member(info, bounds) for info in found], bounds)


def contents(path: Path, bounds: ScanBounds) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """The files of a checked zip and their bytes, in pieces."""
    wanted = {member.name: member for member in list_members(path, bounds)}
    with _opened(path) as archive:
        found = archive.infolist()
    for info in found:
        if not info.is_dir():
            yield wanted[plain_name(info.filename)], _pieces(path, info)


def member(path: Path, name: str) -> Iterator[bytes] | None:
    """The bytes of one member, in pieces, or None where there is none of that name."""
    with _opened(path) as archive:
        found = [info for info in archive.infolist() if plain_name(info.filename) == name and not info.is_dir()]
    return _pieces(path, found[0]) if found else None


def stored_at(path: Path, name: str) -> tuple[int, int] | None:
    """Offset and length in the zip of a member that is stored as it is; None if it is compressed."""
    with _opened(path) as archive, path.open("rb") as file:
        info = archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            return None
        file.seek(info.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != MAGIC[0]:
            raise damaged(path, f"no header where '{name}' should begin")
        name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
        return info.header_offset + 30 + name_bytes + extra_bytes, info.file_size


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _BROKEN as error:
        raise damaged(path, error) from error


def _pieces(path: Path, info: zipfile.ZipInfo) -> Iterator[bytes]:
    # zipfile never yields more than the declared size, which list_members has added up.
    try:
        with zipfile.ZipFile(path) as archive, archive.open(info) as content:
            while piece := content.read(_PIECE):
                yield piece
    except _BROKEN as error:
        raise damaged(path, error) from error


def _require_short_table(path: Path, bounds: ScanBounds) -> None:
    """zipfile reads the whole table of contents into memory: that it is short is to be known before."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - _END_BYTES))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + _END_BYTES > len(tail):
        raise damaged(path, "it has no table of contents")
    (declared,) = struct.unpack_from("<I", tail, at + 12)
    locator = at - _LOCATOR_BYTES
    if locator >= _END_64_BYTES and tail[locator : locator + 4] == _LOCATOR:
        (large,) = struct.unpack_from("<Q", tail, locator - _END_64_BYTES + 40)
        declared = max(declared if declared != 0xFFFFFFFF else 0, large)
    if min(declared, size) > bounds.members * _PER_MEMBER:
        raise refused(path, [Finding("archive", f"has a table of contents of {declared} bytes")])


def _member(info: zipfile.ZipInfo, bounds: ScanBounds) -> Member:
    return Member(plain_name(info.filename), info.file_size, info.is_dir(), _problem(info, bounds))


def _problem(info: zipfile.ZipInfo, bounds: ScanBounds) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is packed by method {info.compress_type}; only stored and deflated members are read"
    if info.file_size > MIB and info.file_size > bounds.ratio * max(info.compress_size, 1):
        return f"inflates from {info.compress_size} to {info.file_size} bytes, more than {bounds.ratio} times"
    return None
