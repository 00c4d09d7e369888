"""Archives from strangers: checked before any byte is unpacked, then unpacked within what they declared.

``zip_archive`` and ``tar_archive`` read the two formats, ``archive_rules`` says what either may hold.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from exporter import tar_archive, zip_archive
from exporter.archive_rules import Member, too_large
from exporter.limits import ScanBounds
from exporter.tar_archive import Keep

__all__ = [
    "Keep",
    "Member",
    "extract",
    "extract_member",
    "is_tar",
    "is_zip",
    "list_members",
    "read_member",
    "too_large",
]


def is_zip(head: bytes) -> bool:
    """Whether a file that begins so is a zip."""
    return head[:4] in zip_archive.MAGIC


def is_tar(head: bytes) -> bool:
    """Whether a file whose first 512 bytes these are is a tar, or is gzipped and so can only be one."""
    return head.startswith(tar_archive.GZIP) or tar_archive.is_tar(head)


def list_members(path: Path, bounds: ScanBounds, keep: Keep | None = None) -> list[Member]:
    """The files in an archive, once none of them could leave its folder or fill the disk.

    Of a tar, which can only be read from its beginning, some are kept on the way; any member of a zip is at hand.

    Raises:
        NotAModel: it is cut short or no archive.
        ScanRefused: a member is absolute, climbs out, is anything but a file or folder, is encrypted or there twice,
            or they are too many or inflate beyond ``bounds``.
    """
    return zip_archive.list_members(path, bounds) if _is_zip(path) else tar_archive.list_members(path, bounds, keep)


def read_member(path: Path, name: str, *, at_most: int, bounds: ScanBounds) -> bytes | None:
    """The bytes of one member of a checked archive, or None where there is none of that name.

    Raises:
        NotAModel: the member is damaged.
        ScanRefused: it is larger than ``at_most``.
    """
    pieces = _member(path, name, bounds)
    if pieces is None:
        return None
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > at_most:
            raise too_large(f"{path.name}!{name}", at_most)
    return bytes(content)


def extract_member(path: Path, name: str, target: Path, bounds: ScanBounds) -> bool:
    """Writes one member of a checked archive to ``target``, which must not exist; False where there is no such member."""
    pieces = _member(path, name, bounds)
    if pieces is None:
        return False
    _write(pieces, target)
    return True


def extract(path: Path, *, root: str, into: Path, bounds: ScanBounds) -> None:
    """Unpacks what lies below ``root`` (a folder in the archive that ends in a slash, or nothing) into a new folder."""
    into.mkdir(parents=True)
    contents = zip_archive.contents(path, bounds) if _is_zip(path) else tar_archive.contents(path, bounds)
    for member, pieces in contents:
        if member.name.startswith(root):
            target = into / PurePosixPath(member.name.removeprefix(root))
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(pieces, target)


def _member(path: Path, name: str, bounds: ScanBounds) -> Iterator[bytes] | None:
    return zip_archive.member(path, name) if _is_zip(path) else tar_archive.member(path, name, bounds)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return is_zip(file.read(4))


def _write(pieces: Iterator[bytes], target: Path) -> None:
    with target.open("xb") as plain:
        for piece in pieces:
            plain.write(piece)
