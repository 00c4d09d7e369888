"""What the names and sizes in an archive may be, whatever its format. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from exporter.errors import ExportError, Finding, NotAModel, ScanRefused, Stage
from exporter.limits import ScanBounds

_LONGEST_PART = 255
_LONGEST_NAME = 1024


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive. ``problem`` is what its format alone shows to be wrong with it."""

    name: str
    size: int
    is_folder: bool = False
    problem: str | None = None


def plain_name(name: str) -> str:
    """A member's name without the ``./`` that tar puts before it and the slash after a folder; '' is the top itself."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    name = name.rstrip("/")
    return "" if name == "." else name


def accepted(path: Path, members: Sequence[Member], bounds: ScanBounds) -> list[Member]:
    """The files among ``members``, once none of them could leave its folder or fill the disk.

    Raises:
        ScanRefused: one could; ``findings`` has all of them.
    """
    findings = [*_size_findings(members, bounds), *_name_findings(members)]
    if findings:
        raise refused(path, findings)
    return [member for member in members if not member.is_folder]


def refused(path: Path, findings: Sequence[Finding]) -> ScanRefused:
    """The refusal of an archive as such, before anything in it is looked at."""
    return ScanRefused(
        f"'{path.name}' is refused as an archive: {findings[0]}.",
        hint="Pack the model again with an ordinary zip or tar, as plain files in one folder.",
        code="unsafe_archive",
        findings=findings,
    )


def damaged(path: Path, error: Exception | str) -> ExportError:
    """The error of an archive that ends too early or whose bytes were changed."""
    return NotAModel(
        f"'{path.name}' is a damaged archive ({error}).",
        hint="It was probably cut short on its way: upload it again, and compare its size with the original's.",
        stage=Stage.SCAN,
        code="truncated_archive",
    )


def too_large(where: str, at_most: int) -> ScanRefused:
    """The refusal of a part that is larger than it has any reason to be."""
    return ScanRefused(
        f"'{where}' is larger than {at_most} bytes, which is the most that is read of such a file.",
        hint="If the model is genuine, raise the bound in the settings.",
        code="too_large",
        findings=[Finding(where, f"larger than {at_most} bytes")],
    )


def _size_findings(members: Sequence[Member], bounds: ScanBounds) -> list[Finding]:
    findings = []
    if len(members) > bounds.members:
        findings.append(Finding("archive", f"has {len(members)} members, more than {bounds.members}"))
    total = sum(member.size for member in members)
    if total > bounds.unpacked_bytes:
        findings.append(Finding("archive", f"inflates to {total} bytes, more than {bounds.unpacked_bytes}"))
    return findings


def _name_findings(members: Sequence[Member]) -> list[Finding]:
    findings = []
    files = {member.name for member in members if not member.is_folder}
    seen: set[str] = set()
    for member in members:
        problem = member.problem or _name_problem(member.name)
        if problem is None and not member.name and not member.is_folder:
            problem = "has no name"
        elif problem is None and member.name in seen and not (member.is_folder and member.name not in files):
            problem = "is there twice"
        elif problem is None and any(str(parent) in files for parent in PurePosixPath(member.name).parents):
            problem = "lies in what is a file"
        if problem:
            findings.append(Finding(member.name[:200], problem))
        seen.add(member.name)
    return findings


def _name_problem(name: str) -> str | None:
    path = PurePosixPath(name)
    if name.startswith("/") or "\\" in name or ":" in name.split("/", 1)[0]:
        return "is an absolute path or one of another system"
    if ".." in path.parts:
        return "climbs out of its folder"
    if str(path) != name and name:
        return "is no plain path"
    try:
        lengths = [len(part.encode()) for part in path.parts]
    except UnicodeEncodeError:
        return "has a name that is no text"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "has control characters in its name"
    if sum(lengths) + len(lengths) > _LONGEST_NAME or max(lengths, default=0) > _LONGEST_PART:
        return "has a longer name than a file may have"
    return None
