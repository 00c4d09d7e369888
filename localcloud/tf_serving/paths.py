"""Where the paths of a container lie on this machine. Pure.

A container sees its volumes where they are mounted; the local process that stands in for it does not.
``LOCALCLOUD_MOUNTS`` is a JSON object from mount path to host folder, and every path that is opened goes through it.
"""

import json
import posixpath
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mounts:
    """Mount paths and the host folders behind them, the longest mount path first."""

    folders: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Mounts":
        """Reads the JSON object; an empty text means no mounts.

        Raises:
            ValueError: it is not an object of absolute paths.
        """
        given = json.loads(text) if text else {}
        if not isinstance(given, dict) or not all(
            isinstance(host, str) and mount.startswith("/") and Path(host).is_absolute()
            for mount, host in given.items()
        ):
            raise ValueError(f'LOCALCLOUD_MOUNTS must be a JSON object like {{"/models": "/host/folder"}}, not {text}')
        folders = [(posixpath.normpath(mount), host) for mount, host in given.items()]
        return cls(tuple(sorted(folders, key=lambda folder: -len(folder[0]))))

    def host(self, path: str) -> Path:
        """The path on this machine; a path under no mount stays as it is."""
        plain = posixpath.normpath(path)
        for mount, folder in self.folders:
            if plain == mount or plain.startswith(mount.rstrip("/") + "/"):
                return Path(folder) / plain[len(mount) :].lstrip("/")
        return Path(plain)

    def container(self, text: str) -> str:
        """``text`` with host folders named as the container sees them, for messages."""
        for mount, folder in self.folders:
            text = text.replace(folder, mount)
        return text
