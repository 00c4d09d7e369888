"""The host's identity and keys: made once, kept in the data folder with mode 0600."""

import json
import platform
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from localcloud import files

_MAX_HOST_ID = 32  # Azure's limit; longer ones are cut
_INT32 = 1 << 32


@dataclass(frozen=True)
class HostSecrets:
    """``host_id`` names the receipts and timers of this app; the keys open its functions."""

    host_id: str
    master: str
    default: str
    blobs_extension: str


def load(app: Path, data: Path) -> HostSecrets:
    """Reads them from ``data/host.json``, making them the first time; the host ID stays where the app folder moves."""
    path = data / "host.json"
    if path.is_file():
        return HostSecrets(**json.loads(path.read_text()))
    made = HostSecrets(host_id(app), *(secrets.token_urlsafe(40) for _ in range(3)))
    data.mkdir(parents=True, exist_ok=True)
    files.write_private(path, json.dumps(asdict(made)))
    return made


def host_id(app: Path) -> str:
    """The machine's name and a hash of the app's path, as Core Tools derives it."""
    machine = "".join(character for character in platform.node() if character.isalnum())
    value = 23
    for character in str(app):
        value = (value * 31 + ord(character)) % _INT32
    signed = value - _INT32 if value >= _INT32 // 2 else value
    return f"{machine}-{abs(signed)}"[:_MAX_HOST_ID].lower().rstrip("-")
