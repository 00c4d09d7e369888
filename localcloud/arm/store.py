"""Keeps the cluster in one JSON file, replaced as a whole so that a kill leaves the old or the new one."""

import os
from pathlib import Path

from localcloud.arm.model import Cluster


class ClusterStore:
    """The stored cluster; `save` is on disk when it returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Cluster | None:
        """The cluster as last saved, or None where there is none yet."""
        if not self._path.exists():
            return None
        return Cluster.model_validate_json(self._path.read_bytes())

    def save(self, cluster: Cluster) -> None:
        """Replaces the stored cluster."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(cluster.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
