"""Tar files from strangers, plain or gzipped, read as one stream: nothing is held but the piece at hand.

Written for this purpose rather than taken from ``tarfile``, which reads extended headers of any declared size into
memory and knows a dozen kinds of members. A model needs files and folders; everything else is refused by name.
The format is POSIX.1-2001's ustar and pax, with GNU's long names and sizes.
"""

import gzip
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exporter.archive_rules import Member, accepted, damaged, plain_name, refused
from exporter.errors import Finding
from exporter.limits import KIB, MIB, ScanBounds

GZIP = b"\x1f\x8b"

_BLOCK = 512
_PIECE = 1 * MIB
_LONGEST_HEADER = 64 * KIB
_EMPTY = bytes(_BLOCK)
_BROKEN = (OSError, EOFError, zlib.error)
_FILE, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _EXTENDED, _GLOBAL = b"L", b"x", b"g"
_OTHERS = {
    b"1": "is a hard link",
    b"2": "is a link",
    b"3": "is a device",
    b"4": "is a device",
    b"6": "is a pipe",
    b"K": "is a link",
    b"S": "is a sparse file",
    b"V": "is a volume label",
    b"M": "is one part of several",
}


def is_tar(head: bytes) -> bool:
    """Whether the first 512 bytes of a file are a tar header, by its checksum; 'ustar' may be absent in old ones."""
    return len(head) >= _BLOCK and head[:_BLOCK] != _EMPTY and _checksum_holds(head[:_BLOCK])


@dataclass(frozen=True)
class Keep:
    """Which members to keep while a tar is read through, as to look for them later is to unpack all of it again.

    They are kept under numbers, in ``directory``: a name is trusted when the whole archive is.
    """

    directory: Path
    wanted: Callable[[Member], bool]
    files: dict[str, Path] = field(default_factory=dict)


def list_members(path: Path, bounds: ScanBounds, keep: Keep | None = None) -> list[Member]:
    """The files in a tar, once none of them could leave its folder or fill the disk. Reads the whole stream.

    Raises:
        NotAModel: it is cut short or no tar.
        ScanRefused: a member is absolute, climbs out, is a link, a device, sparse or there twice, or they are too
            many, or inflate beyond ``bounds``.
    """
    members: list[Member] = []
    for found, pieces in _entries(path, bounds):
        if keep is not None and not (found.is_folder or found.problem) and keep.wanted(found):
            keep.files[found.name] = keep.directory / str(len(members))
            with keep.files[found.name].open("xb") as file:
                file.writelines(pieces)
        members.append(found)
    return accepted(path, members, bounds)


def contents(path: Path, bounds: ScanBounds) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """The files of a checked tar and their bytes, in pieces; each to be read before the next is asked for."""
    list_members(path, bounds)
    return ((member, pieces) for member, pieces in _entries(path, bounds) if not member.is_folder)


def member(path: Path, name: str, bounds: ScanBounds) -> Iterator[bytes] | None:
    """The bytes of one member of a checked tar, in pieces, or None where there is none of that name."""
    entries = _entries(path, bounds)
    for found, pieces in entries:
        if found.name == name and not found.is_folder:
            return _then_close(entries, pieces)
    return None


_Entries = Generator[tuple[Member, Iterator[bytes]], None, None]


@dataclass
class _Next:
    """What an extended header says of the member after it."""

    name: str | None = None
    size: int | None = None
    problem: str | None = None


def _entries(path: Path, bounds: ScanBounds) -> _Entries:
    """All members as they come; of an archive that is not checked yet. Skips what the caller does not read."""
    with _Stream(path, bounds) as stream:
        coming = _Next()
        count = 0
        while (header := stream.block()) != _EMPTY:
            if not _checksum_holds(header):
                raise damaged(path, "a header's checksum does not hold")
            kind, size = header[156:157], _number(path, header[124:136])
            count += 1
            if count > 4 * bounds.members:  # as folders and extended headers count as well
                raise refused(path, [Finding("archive", f"has more than {bounds.members} members")])
            if kind in (_LONG_NAME, _EXTENDED, _GLOBAL):
                if size > _LONGEST_HEADER:
                    raise refused(path, [Finding("archive", f"has a header of {size} bytes")])
                content = stream.exactly(size)
                stream.skip(-size % _BLOCK)
                if kind == _LONG_NAME:
                    coming.name = _text(content)
                else:
                    _take(coming, content, path, is_global=kind == _GLOBAL)
                continue
            name = plain_name(coming.name or _name(header))
            size = size if coming.size is None else coming.size
            problem = coming.problem or _OTHERS.get(kind)
            if problem is None and kind not in (*_FILE, _FOLDER):
                problem = f"is of the unknown kind {kind!r}"
            coming = _Next()
            is_folder = kind == _FOLDER or (kind == b"\0" and header[:100].rstrip(b"\0").endswith(b"/"))
            if problem or is_folder:
                size = 0
            end = stream.at + size
            if name or not is_folder:
                yield Member(name, size, is_folder, problem), stream.pieces(end)
            if problem:  # where the next header is, is not known for all kinds; the archive is refused anyway
                return
            stream.skip(end - stream.at + (-size % _BLOCK))


def _then_close(entries: _Entries, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces  # from the file that ``entries`` holds open
    entries.close()


class _Stream:
    """The unpacked bytes of a tar, counted: never more than the bounds allow, however small the file is."""

    def __init__(self, path: Path, bounds: ScanBounds) -> None:
        self._path = path
        self.at = 0
        packed = path.stat().st_size
        with path.open("rb") as file:
            self._gzipped = file.read(2) == GZIP
        framing = 4 * _BLOCK * bounds.members
        self._ceiling = bounds.unpacked_bytes + framing
        if self._gzipped:
            self._ceiling = min(self._ceiling, max(framing, packed * bounds.ratio))
        self._packed = packed
        self._file = gzip.open(path, "rb") if self._gzipped else path.open("rb")  # noqa: SIM115  (closed by __exit__)

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def block(self) -> bytes:
        return self.exactly(_BLOCK)

    def exactly(self, size: int) -> bytes:
        return b"".join(self.pieces(self.at + size))

    def skip(self, size: int) -> None:
        for _ in self.pieces(self.at + size):
            pass

    def pieces(self, end: int) -> Iterator[bytes]:
        while self.at < end:
            try:
                piece = self._file.read(min(_PIECE, end - self.at))
            except _BROKEN as error:
                raise damaged(self._path, error) from error
            if not piece:
                raise damaged(self._path, f"it ends after {self.at} bytes, in the midst of a member")
            self.at += len(piece)
            if self.at > self._ceiling:
                raise refused(
                    self._path, [Finding("archive", f"inflates from {self._packed} to more than {self._ceiling} bytes")]
                )
            yield piece


def _checksum_holds(header: bytes) -> bool:
    declared = header[148:156].strip(b" \0")
    try:
        return int(declared, 8) == sum(header[:148]) + 8 * ord(" ") + sum(header[156:_BLOCK])
    except ValueError:
        return False


def _number(path: Path, field: bytes) -> int:
    """A size: octal digits, or GNU's base 256 where they do not suffice."""
    if field[0] & 0x80:
        number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    else:
        try:
            number = int(field.strip(b" \0") or b"0", 8)
        except ValueError as error:
            raise damaged(path, f"a size that is no number: {field!r}") from error
    if not 0 <= number < 1 << 62:
        raise damaged(path, "a size beyond all measure")
    return number


def _name(header: bytes) -> str:
    name, prefix = header[:100].split(b"\0", 1)[0], header[345:500].split(b"\0", 1)[0]
    if prefix and header[257:263] == b"ustar\0":  # GNU's own format has other things there
        name = prefix + b"/" + name
    return _text(name)


def _text(name: bytes) -> str:
    return name.split(b"\0", 1)[0].decode("utf-8", errors="surrogateescape")


def _take(coming: _Next, content: bytes, path: Path, *, is_global: bool) -> None:
    """Records of POSIX's extended header: "LENGTH KEY=VALUE\\n"."""
    for key, value in _records(content, path):
        if key.startswith(b"GNU.sparse."):
            coming.problem = "is a sparse file"
        elif key in (b"path", b"size", b"linkpath") and is_global:
            coming.problem = f"has a {key.decode()} for all members"
        elif key == b"path":
            # tarfile and GNU tar keep a NUL here; a name with one is refused as one with control characters.
            coming.name = value.decode("utf-8", errors="surrogateescape")
        elif key == b"size":
            coming.size = _decimal(value, path)


def _records(content: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(content) and content[at] != 0:
        space = content.find(b" ", at, at + 8)
        length = _decimal(content[at:space], path) if space > 0 else 0
        record = content[space + 1 : at + length]
        if length <= space - at or at + length > len(content) or not record.endswith(b"\n") or b"=" not in record:
            raise damaged(path, "an extended header that is none")
        key, _, value = record[:-1].partition(b"=")
        yield key, value
        at += length


def _decimal(value: bytes, path: Path) -> int:
    if not value.isdigit() or len(value) > 18:
        raise damaged(path, f"a size that is no number: {value[:20]!r}")
    return int(value)
