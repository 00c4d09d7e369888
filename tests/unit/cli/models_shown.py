"""Models as the HTTP API shows them: real records, through the deployer's own view."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from deployer.record import ModelRecord, RolloutStatus, Route, UploadStatus, VersionRecord
from deployer.timeline import Stage
from deployer.views import model_view

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def upload(etag: str, state: str, version: int | None = None, **more: Any) -> UploadStatus:
    """An upload of cats.keras."""
    return UploadStatus.model_validate(
        {"blob": "cats.keras", "etag": etag, "fingerprint": "f", "state": state, "at": NOON, "version": version, **more}
    )


def version(number: int, state: str = "published", **more: Any) -> VersionRecord:
    """A version of a model."""
    return VersionRecord.model_validate(
        {
            "version": number, "identity": f"id{number}", "state": state, "created": NOON, "bytes": 2_500_000,
            "source": {"name": "cats.keras"}, "labels": 10, **more,
        }
    )  # fmt: skip


def stage(name: str, seconds_after_noon: float, number: int | None = 1, **more: Any) -> Stage:
    """A stage that took a quarter of a second."""
    return Stage.model_validate(
        {
            "stage": name,
            "started": NOON + timedelta(seconds=seconds_after_noon),
            "seconds": 0.25,
            "version": number,
            **more,
        }
    )


def shown(
    latest: UploadStatus | None = None, *versions: VersionRecord, serving: int | None = None, asleep: bool = False,
    rolling: str | None = None, timeline: Sequence[Stage] = (),
) -> dict[str, Any]:  # fmt: skip
    """What ``GET /api/models/cats`` answers."""
    newest = versions[-1].version if versions else None
    record = ModelRecord(
        name="cats", updated=NOON, upload=latest, versions=versions, desired=newest, asleep=asleep,
        route=Route(version=serving, address="http://10.0.0.9:8501") if serving is not None else None,
        rollout=RolloutStatus(version=newest, started=NOON, step="AwaitPods", since=NOON, looked=NOON, message=rolling)
        if rolling is not None and newest is not None
        else None,
    )  # fmt: skip
    return model_view(record, timeline)
