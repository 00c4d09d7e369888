"""``endpoints.json``: where a running local cloud can be reached. It exists only while the cloud is ready."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from localcloud.files import write_private

NAME = "endpoints.json"


@dataclass(frozen=True)
class Endpoints:
    """``None``: that part was not started, or (the dashboard) is not there yet.

    ``functions_url`` is the origin; paths begin with ``/api``.

    ``kubectl_url`` is the same Kubernetes API without a token, on loopback: kubectl sends none over plain http.
    """

    storage_connection_string: str
    functions_url: str | None = None
    function_key: str | None = None
    master_key: str | None = None
    kubernetes_url: str | None = None
    kubernetes_token: str | None = None
    kubectl_url: str | None = None
    arm_url: str | None = None
    dashboard_url: str | None = None


def write(data: Path, endpoints: Endpoints) -> None:
    """Writes the file whole, readable by its owner only: it has keys in it."""
    write_private(data / NAME, json.dumps(asdict(endpoints), indent=2) + "\n")


def remove(data: Path) -> None:
    """Removes the file, where there is one."""
    (data / NAME).unlink(missing_ok=True)
