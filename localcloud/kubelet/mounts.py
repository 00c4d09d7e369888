"""The paths a container sees, and the host folders that stand for them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Mounts:
    """Mount paths of a container and their host folders."""

    folders: Mapping[str, Path] = field(default_factory=dict)

    def on_host(self, text: str) -> str:
        """``text`` with each path under a mount replaced by the host's: ``--model_base_path=/models/cats`` and alike.

        A path counts where nothing that could be part of a longer path stands before it, and it ends with the mount or
        goes on with ``/``; the longest mount wins.
        """
        if not self.folders:
            return text
        longest_first = sorted(self.folders, key=len, reverse=True)
        mounts = "|".join(re.escape(mount) for mount in longest_first)
        path = re.compile(rf"(?<![\w./-])(?:{mounts})(?=/|$|[^\w.-])")
        return path.sub(lambda found: str(self.folders[found[0]]), text)

    def in_container(self, text: str) -> str:
        """``text`` with host folders named as the container sees them, for messages."""
        for mount, folder in sorted(self.folders.items(), key=lambda each: -len(str(each[1]))):
            text = text.replace(str(folder), mount)
        return text

    def as_json(self) -> dict[str, str]:
        """For LOCALCLOUD_MOUNTS."""
        return {mount: str(folder) for mount, folder in self.folders.items()}
