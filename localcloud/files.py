"""Files that other processes read while they are written."""

import os
from pathlib import Path

_SHOWN_LINES = 15


def write_private(path: Path, text: str) -> None:
    """Writes ``path`` whole or not at all, readable by its owner only."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def end_of(log: Path) -> int:
    """Where a log ends now, in bytes; 0 where there is none."""
    return log.stat().st_size if log.is_file() else 0


def last_lines(log: Path, begin: int = 0) -> str:
    """The end of a log, from ``begin`` on, for an error message."""
    if not log.is_file():
        return "(its log is empty)"
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()[-_SHOWN_LINES:]
    return "\n".join(f"  {line}" for line in lines) or "(its log is empty)"
