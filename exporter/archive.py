"""Zip files from strangers: checked before any byte is unpacked, then unpacked within what they declared."""

import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from exporter.errors import ExportError, Finding, NotAModel, ScanRefused, Stage
from exporter.limits import MIB, ScanBounds

_CHUNK = 1 * MIB


def list_members(path: Path, bounds: ScanBounds) -> list[zipfile.ZipInfo]:
    """The files in a zip, once none of them could leave its folder or fill the disk.

    Raises:
        NotAModel: it is cut short or no zip.
        ScanRefused: a member is absolute, climbs out, is a link, encrypted or there twice, or they inflate beyond
            ``bounds``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _broken(path, error) from error
    findings = [*_count_findings(members, bounds), *_member_findings(members, bounds)]
    if findings:
        raise ScanRefused(
            f"'{path.name}' is refused as an archive: {findings[0]}.",
            hint="Pack the model again with an ordinary zip tool, as plain files in one folder.",
            code="unsafe_archive",
            findings=findings,
        )
    return [member for member in members if not member.is_dir()]


def read_member(path: Path, name: str, *, at_most: int) -> bytes | None:
    """The bytes of one member, or None where there is none of that name.

    Raises:
        NotAModel: the member is damaged.
        ScanRefused: it is larger than ``at_most``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if name not in archive.NameToInfo:
                return None
            with archive.open(name) as member:
                content = member.read(at_most + 1)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, zlib.error) as error:
        raise _broken(path, error) from error
    if len(content) > at_most:
        raise too_large(f"{path.name}!{name}", at_most)
    return content


def extract(path: Path, *, root: str, into: Path, bounds: ScanBounds) -> None:
    """Unpacks what lies below ``root`` (a folder in the archive that ends in a slash, or nothing) into a new folder."""
    into.mkdir(parents=True)
    members = list_members(path, bounds)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in members:
                if member.filename.startswith(root):
                    _extract_one(archive, member, into / PurePosixPath(member.filename.removeprefix(root)))
    except (zipfile.BadZipFile, ValueError, EOFError, zlib.error) as error:
        raise _broken(path, error) from error


def too_large(where: str, at_most: int) -> ScanRefused:
    """The refusal of a part that is larger than it has any reason to be."""
    return ScanRefused(
        f"'{where}' is larger than {at_most} bytes, which is the most that is read of such a file.",
        hint="If the model is genuine, raise the bound in the settings.",
        code="too_large",
        findings=[Finding(where, f"larger than {at_most} bytes")],
    )


def _extract_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile never yields more than the declared size, which list_members has added up.
    with archive.open(member) as packed, target.open("xb") as plain:
        while chunk := packed.read(_CHUNK):
            plain.write(chunk)


def _count_findings(members: Sequence[zipfile.ZipInfo], bounds: ScanBounds) -> list[Finding]:
    findings = []
    if len(members) > bounds.members:
        findings.append(Finding("archive", f"has {len(members)} members, more than {bounds.members}"))
    total = sum(member.file_size for member in members)
    if total > bounds.unpacked_bytes:
        findings.append(Finding("archive", f"inflates to {total} bytes, more than {bounds.unpacked_bytes}"))
    return findings


def _member_findings(members: Sequence[zipfile.ZipInfo], bounds: ScanBounds) -> list[Finding]:
    findings = []
    seen: set[str] = set()
    for member in members:
        if problem := _problem(member, bounds):
            findings.append(Finding(member.filename, problem))
        elif member.filename in seen:
            findings.append(Finding(member.filename, "is there twice"))
        seen.add(member.filename)
    return findings


def _problem(member: zipfile.ZipInfo, bounds: ScanBounds) -> str | None:
    name = member.filename
    mode = member.external_attr >> 16
    if name.startswith("/") or "\\" in name or ":" in name.split("/", 1)[0]:
        return "is an absolute path or one of another system"
    if ".." in PurePosixPath(name).parts:
        return "climbs out of its folder"
    if any(ord(character) < 32 for character in name):
        return "has control characters in its name"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a special file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is packed by method {member.compress_type}; only stored and deflated members are read"
    if member.file_size > MIB and member.file_size > bounds.ratio * max(member.compress_size, 1):
        return f"inflates from {member.compress_size} to {member.file_size} bytes, more than {bounds.ratio} times"
    return None


def _broken(path: Path, error: Exception) -> ExportError:
    return NotAModel(
        f"'{path.name}' is a damaged zip file ({error}).",
        hint="It was probably cut short on its way: upload it again, and compare its size with the original's.",
        stage=Stage.SCAN,
        code="truncated_archive",
    )
