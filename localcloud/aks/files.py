"""What the stand-in keeps between starts besides the cluster itself: ports, keys, addresses; and the ready file."""

import json
import os
import secrets
import uuid
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class Keepsakes(BaseModel):
    """Ports that clients remember, keys they hold, and the part of loopback that stored addresses are of."""

    model_config = ConfigDict(frozen=True)

    subscription_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    kubernetes_token: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    identity_header: str = Field(default_factory=lambda: secrets.token_urlsafe(24))
    signing_key: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    kubernetes_port: int = 0
    kubectl_port: int = 0
    arm_port: int = 0
    loopback_prefix: str | None = None
    furnished: bool = False
    """A new cluster has got what it comes with."""

    @classmethod
    def load(cls, path: Path) -> "Keepsakes":
        """Those of an earlier start, or new ones."""
        return cls.model_validate_json(path.read_bytes()) if path.exists() else cls()

    def save(self, path: Path) -> None:
        """Keeps them, readable by the owner only."""
        write_atomically(path, self.model_dump())


def write_atomically(path: Path, content: Mapping[str, object]) -> None:
    """Writes JSON so that a reader sees all of it or nothing; readable by the owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
