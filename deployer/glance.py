"""What one listing tells of every model: a short extract of its record, kept as metadata of the record's blob. Pure.

Storage writes a blob's metadata in one with its content, so an extract is as new as a read of the record at the time of the
listing. It tells what is to be looked at; whoever changes something decides again on the record itself, under its ETag.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from deployer.options import IdleOptions, ServeOptions
from deployer.record import Bridge, ModelRecord, UploadState, VersionRecord
from deployer.timeline import Document

KEY = "glance3"  # in the metadata; counts up when fields are added or change their meaning
_TOO_LONG = "-"
_LONGEST = 6000  # bytes; Azure takes 8 KiB of metadata in all


class Glance(Document):
    """What the sweep, the idle ladder, the ledger, the bridges and the list of models must know of a model.

    ``state``: one word, as users are shown it. ``settled``: nothing remains to be done. ``route``: the version that serves.
    """

    name: str
    updated: datetime
    state: str
    settled: bool = True
    asleep: bool = False
    route: int | None = None
    desired: int | None = None
    reason: str | None = None
    hint: str | None = None
    # Of its newest upload; ``due``: when the sweep takes it up again; ``job``: a Job has it; ``after``: not before this is a look
    # asked for again.
    fingerprint: str | None = None
    upload: UploadState | None = None
    due: datetime | None = None
    job: bool = False
    after: datetime | None = None
    removing: bool = False
    removed: bool = False  # all of it is gone but the record
    # ``used``: the newest of what counts as use and stands in the record; ``changed``: when it fell asleep or was last woken;
    # ``gpus``: that its pods take, in all.
    used: datetime
    changed: datetime | None = None
    gpus: int = 0
    idle: IdleOptions = IdleOptions()
    # The bridge that is noted, and the version that one should serve.
    bridge: Bridge | None = None
    bridged: int | None = None


def glance_of(record: ModelRecord) -> Glance:
    """The extract of this record."""
    upload, setback, serve = record.upload, record.setback, _serve(record)
    marks = [
        record.changed_rung, record.served, upload.at if upload else None,
        *(version.created for version in record.versions if version.version == record.desired),
    ]  # fmt: skip
    reason, hint = _told(record)
    bridge = bridged(record)
    return Glance(
        name=record.name, updated=record.updated, state=state_of(record), settled=record.settled, asleep=record.asleep,
        route=record.route.version if record.route else None, desired=record.desired, reason=reason, hint=hint,
        fingerprint=upload.fingerprint if upload else None, upload=upload.state if upload else None,
        due=upload.due if upload else None, job=upload is not None and upload.job is not None,
        after=setback.until if setback else None,
        removing=record.removed is not None and not record.removed.done,
        removed=record.removed is not None and record.removed.done,
        used=max((mark for mark in marks if mark is not None), default=record.updated), changed=record.changed_rung,
        gpus=serve.gpus * serve.replicas.min if serve else 0, idle=serve.idle if serve else IdleOptions(),
        bridge=record.bridge, bridged=bridge.version if bridge else None,
    )  # fmt: skip


def metadata_of(record: ModelRecord) -> Mapping[str, str]:
    """The extract as metadata: ASCII, without two spaces in a row, which the signature of a request would not survive.

    Where it would be too long, it says so, and the record is read whole.
    """
    document = glance_of(record).model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(document, separators=(",", ":")).replace("  ", " \\u0020")
    return {KEY: text if len(text) <= _LONGEST else _TOO_LONG}


def told_by(metadata: Mapping[str, str]) -> Glance | None:
    """The extract in this metadata; None where it tells nothing, and the record must be read."""
    try:
        return Glance.model_validate_json(metadata.get(KEY, _TOO_LONG))
    except ValidationError:
        return None


def state_of(record: ModelRecord) -> str:
    """One word for where a model stands; ``failed`` speaks of its newest upload, whatever still serves."""
    upload = record.upload
    if record.removed is not None and (upload is None or upload.state == "removed"):
        return "removing"
    if upload is not None and upload.state not in ("published", "serving", "deleted", "removed"):
        return upload.state
    if upload is not None and upload.state == "deleted" and record.desired is None:
        return "retired"
    if not record.settled:
        return "rolling"
    if record.asleep:
        return "asleep"
    return "serving" if record.route is not None else "failed"


def bridged(record: ModelRecord) -> VersionRecord | None:
    """The version that a bridge should serve: that of a model on GPUs which served before, while none does."""
    if (
        record.route is not None
        or record.removed is not None
        or record.desired is None
        or not record.has(record.desired)
    ):
        return None
    desired = record.version(record.desired)
    back = record.fallback(record.desired)
    if desired.state != "serving" and back is not None and record.has(back):  # the next one is on its way
        desired = record.version(back)
    return desired if desired.state == "serving" and desired.serve.gpus > 0 else None


def _serve(record: ModelRecord) -> ServeOptions | None:
    """How what is desired is served; a version that nothing is known of is taken for one on a GPU."""
    if record.desired is None:
        return None
    return record.version(record.desired).serve if record.has(record.desired) else ServeOptions()


def _told(record: ModelRecord) -> tuple[str | None, str | None]:
    """What keeps the model from where it should be, and what to do."""
    upload, setback = record.upload, record.setback
    reason = upload.reason if upload is not None and upload.reason else setback.reason if setback is not None else None
    hint = upload.hint if upload is not None and upload.reason else None
    if hint is None and setback is not None:
        hint = f"It is tried again at {setback.until:%H:%M} UTC, or now by 'slipway retry {record.name}'."
    return reason, hint
