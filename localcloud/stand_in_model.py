"""A model that serves although nothing was dropped: its record says so, and where. For tests and measurements."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from azure.storage.blob import BlobServiceClient

from deployer.record import ModelRecord, Route, VersionRecord

_SIGNATURES: Mapping[str, Any] = {"classify_image": {}, "serving_default": {}}


def record(name: str, route: Route, signatures: Mapping[str, Any] = _SIGNATURES, **changes: Any) -> ModelRecord:
    """A model whose versions of this route serve."""
    now = datetime.now(UTC)
    numbers = {route.version, *([route.canary.version] if route.canary else [])}
    versions = tuple(
        VersionRecord(version=number, identity=str(number), state="serving", created=now, signatures=dict(signatures))
        for number in sorted(numbers)
    )
    served = ModelRecord(
        name=name, updated=now, versions=versions, next_version=max(numbers) + 1, desired=route.version, route=route
    )
    return served.but(**changes)


def store(connection_string: str, model: ModelRecord) -> None:
    """Puts the record where the deployer keeps it."""
    with BlobServiceClient.from_connection_string(connection_string) as service:
        blob = service.get_blob_client("slipway", f"models/{model.name}.json")
        blob.upload_blob(model.model_dump_json().encode(), overwrite=True)
