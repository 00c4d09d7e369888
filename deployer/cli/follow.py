"""What has become of one upload, from what the API says of its model. Pure; ``deployer.cli.push`` asks and waits.

An upload is known by its ETag: the API shows the one of the model's newest upload.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Document = Mapping[str, Any]

_ENDS_BADLY = ("failed", "held", "given_up", "unfinished")


@dataclass(frozen=True)
class Before:
    """What was so before the push: the ETag shown, the versions there were, and when the newest stage began."""

    etag: str | None = None
    versions: frozenset[int] = frozenset()
    last_stage: datetime | None = None


@dataclass(frozen=True)
class Under:
    """Under way: what is being done, in words."""

    doing: str


@dataclass(frozen=True)
class Serving:
    """The upload's version answers. ``known``: it was there before, for the same bytes had been dropped before."""

    version: int
    known: bool


@dataclass(frozen=True)
class Asleep:
    """The upload's version stands ready and is rolled out when the model is next asked for."""

    version: int


@dataclass(frozen=True)
class Refused:
    """The upload failed for good at ``stage``; ``serving`` is the version that goes on answering, if any."""

    stage: str
    reason: str
    hint: str
    serving: int | None


@dataclass(frozen=True)
class Superseded:
    """Another upload of the same name came after this one."""

    by: str


@dataclass(frozen=True)
class GoneBack:
    """Somebody commanded another version while the upload's was on its way, or had just come to serve."""

    version: int
    to: int


@dataclass(frozen=True)
class Removed:
    """The model was removed, or retired as its upload was deleted, while it was followed."""


Fate = Under | Serving | Asleep | Refused | Superseded | GoneBack | Removed


def before_push(model: Document | None) -> Before:
    """What to remember of a model before its next upload; ``None``: there is no such model yet."""
    if model is None:
        return Before()
    return Before(
        etag=_etag(model.get("upload")),
        versions=frozenset(version["version"] for version in model["versions"]),
        last_stage=max((_started(stage) for stage in model["timeline"]), default=None),
    )


def fate_of(model: Document | None, etag: str, before: Before, *, noticed: bool = False) -> Fate:
    """What has become of the upload with this ETag; ``noticed``: it was shown at an earlier look."""
    upload = model.get("upload") if model is not None else None
    shown = _etag(upload)
    if model is None and noticed:
        return Removed()
    if model is None or upload is None or (shown != etag and shown in (None, before.etag)):
        if model is not None and model["state"] == "removing":
            return Under("waiting for the model's removal to end, which was commanded before")
        return Under("waiting for the upload to be noticed")
    if shown != etag:
        return Superseded(str(upload["blob"]))
    version = upload.get("version")
    if upload["state"] in ("removed", "deleted"):
        return Removed()
    if upload["state"] in _ENDS_BADLY:
        return _refused(upload, model)
    if version is not None and model["desired"] not in (None, version):
        return GoneBack(version, model["desired"])
    if version is not None:
        entry: Document = next((item for item in model["versions"] if item["version"] == version), {})
        if entry.get("state") == "failed":
            return _refused({"stage": "rollout", **entry}, model)
        if model["state"] == "asleep":  # the API names then the version that will serve
            return Asleep(version)
        if model.get("version") == version:
            return Serving(version, known=version in before.versions)
    return Under(_doing(upload, model.get("rollout")))


def noticed(model: Document | None, etag: str) -> bool:
    """Whether the model's newest upload is the one with this ETag."""
    return model is not None and _etag(model.get("upload")) == etag


def new_stages(model: Document | None, before: Before) -> Iterator[Document]:
    """The stages of the timeline that began after those before the push, in order."""
    for stage in model["timeline"] if model is not None else ():
        if before.last_stage is None or _started(stage) > before.last_stage:
            yield stage


def _refused(failed: Document, model: Document) -> Refused:
    return Refused(
        stage=failed.get("stage") or "upload", reason=failed.get("reason") or "no reason was recorded",
        hint=failed.get("hint") or "", serving=model.get("version"),
    )  # fmt: skip


def _doing(upload: Document, rollout: Document | None) -> str:
    if upload.get("version") is not None and rollout is not None:
        return f"v{rollout['version']}: {rollout['message'] or rollout['step']}"
    if upload["state"] == "published":
        return "published, waiting for its rollout"
    where = f" as the Job {upload['job']}" if upload.get("job") else ""
    return f"{upload['state']}{where}" + (f": {upload['reason']}" if upload.get("reason") else "")


def _etag(upload: Document | None) -> str | None:
    return str(upload["etag"]).strip('"') if upload is not None else None


def _started(stage: Document) -> datetime:
    return datetime.fromisoformat(stage["started"])
