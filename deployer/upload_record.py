"""What an upload's way changes in its model's record. Pure: ``deployer.uploads`` and ``deployer.conversion`` write it.

Each change but the first is refused where the record is about another upload by now, or the model was removed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from deployer.errors import Conflict
from deployer.names import export_job
from deployer.options import ServeOptions
from deployer.record import AT_WORK, ENDED, GONE, ModelRecord, Removal, RolloutStatus, UploadState, UploadStatus
from deployer.resolution import Upload
from deployer.timeline import Stage, merged, stage_done

JOB = "job"  # the stage in which a Job has the upload, and its process has not begun

_LONGEST_PAUSE = timedelta(hours=1)


def waiting(record: ModelRecord, upload: Upload, now: datetime, *, reason: str, due: datetime) -> ModelRecord:
    """The upload is not complete, or not at rest; the sweep looks again when that is due."""
    before = record.upload
    if before is not None and _same(record, upload) and (before.state, before.reason) == ("receiving", reason):
        return record
    return record.but(
        upload=_status(record, upload, "receiving", now).but(reason=reason, due=due), removed=_still_removed(record)
    )


def unfinished(record: ModelRecord, upload: Upload, now: datetime, *, reason: str) -> ModelRecord:
    """The upload has not been completed for a while."""
    if _same(record, upload) and record.upload is not None and record.upload.state == "unfinished":
        return record
    hint = "Upload what is missing, or the whole directory again."
    status = _status(record, upload, "unfinished", now).but(reason=reason, hint=hint)
    return record.but(upload=status, removed=_still_removed(record)).noting(
        now, who(upload), "reported as unfinished", reason
    )


def begun(record: ModelRecord, upload: Upload, now: datetime) -> ModelRecord:
    """An attempt at the upload begins; what a killed one was at is noted as interrupted."""
    before = record.upload
    status = _status(record, upload, "scanning", now).but(stage="scan")
    status = status.but(attempts=status.attempts + 1)
    killed = before is not None and _same(record, upload) and before.state in AT_WORK and before.reason is None
    if before is not None and killed:  # one that ended by itself left a reason
        cut = stage_done(before.stage or before.state, before.at, now, attempt=before.attempts)
        status = status.but(stages=merged(status.stages, [cut.but(outcome="interrupted")]))
    taken = {blob.name: blob.etag for blob in upload.blobs}
    after = record.but(upload=status, removed=_still_removed(record), taken=taken)
    return after.noting(now, who(upload), "taken", f"ETag {upload.primary.etag}") if status.attempts == 1 else after


def handed_over(record: ModelRecord, upload: Upload, now: datetime, *, due: datetime) -> ModelRecord:
    """An attempt begins, as a Job whose name follows from the record as it was; looked at again when that is ``due``."""
    after = begun(record, upload, now)
    status = _mine(after, upload)
    job = export_job(record.name, upload.fingerprint, status.attempts, record.decided)
    return after.but(upload=status.but(state="converting", stage=JOB, job=job, due=due))


def kept_waiting(record: ModelRecord, upload: Upload, job: str, reason: str | None) -> ModelRecord:
    """What the upload's Job waits for; None: for nothing."""
    status = _mine(record, upload)
    if status.job != job or status.reason == reason:
        return record
    return record.but(upload=status.but(reason=reason))


def taken_on(record: ModelRecord, upload: Upload, now: datetime, *, job: str) -> ModelRecord:
    """The Job's process begins.

    Raises:
        Conflict: the upload is not this Job's any more.
    """
    status = _mine(record, upload)
    if status.job != job:
        raise Conflict("overwritten", f"'{upload.primary.name}' is not the Job {job}'s any more.", "Nothing is done.")
    stage = status.stage or status.state
    waited = stage_done(stage, status.at, now, detail=f"as the Job {job}", attempt=status.attempts)
    if stage != JOB:  # another pod of it began, and is no more
        waited = waited.but(outcome="interrupted")
    begins = status.but(state="scanning", stage="scan", at=now, reason=None, hint=None)
    return record.but(upload=begins.but(stages=merged(status.stages, [waited])))


def withdrawn(record: ModelRecord, fingerprint: str, now: datetime) -> ModelRecord:
    """The upload that was at work has been removed from the drop container."""
    status = record.upload
    if status is None or status.fingerprint != fingerprint or status.state not in AT_WORK:
        return record
    reason, hint = "It was removed while it was converted.", "Upload it again."
    status = status.but(state="failed", at=now, reason=reason, hint=hint, due=None, job=None)
    return record.but(upload=status).noting(now, f"upload {status.blob}", "withdrawn", reason)


def at(
    record: ModelRecord, upload: Upload, state: UploadState, stage: str, now: datetime, *before: Stage
) -> ModelRecord:
    """The upload has come to a stage; the stages before have ended."""
    after = ended(record, upload, *before)
    return after.but(upload=_mine(after, upload).but(state=state, stage=stage, at=now, reason=None, hint=None))


def ended(record: ModelRecord, upload: Upload, *stages: Stage) -> ModelRecord:
    """Stages of the upload have ended, in its newest attempt."""
    status = _mine(record, upload)
    mine = [stage.but(attempt=status.attempts) for stage in stages]
    return record.but(upload=status.but(stages=merged(status.stages, mine)))


def refused(record: ModelRecord, upload: Upload, now: datetime, *, stage: str, reason: str, hint: str) -> ModelRecord:
    """The upload will never become a version as it is."""
    status = _mine(record, upload)
    failed = stage_done(stage, status.at, now, detail=reason, failed=True, attempt=status.attempts)
    status = status.but(
        state="failed", at=now, stage=stage, reason=reason, hint=hint, stages=merged(status.stages, [failed]), due=None,
        job=None,
    )  # fmt: skip
    return record.but(upload=status).noting(now, who(upload), f"refused at {stage}", reason)


def set_back(
    record: ModelRecord, upload: Upload, now: datetime, *, reason: str, hint: str, pause: timedelta
) -> ModelRecord:
    """The attempt failed for what may heal: the sweep tries again after a pause that doubles each time."""
    status = _mine(record, upload)
    if status.state in ENDED:  # what failed came after the upload's own end
        return record
    stage = status.stage or status.state
    failed = stage_done(stage, status.at, now, detail=reason, failed=True, attempt=status.attempts)
    due = now + min(pause * 2 ** (max(1, status.attempts) - 1), _LONGEST_PAUSE)
    status = status.but(at=now, reason=reason, hint=hint, due=due, stages=merged(status.stages, [failed]), job=None)
    return record.but(upload=status)


def given_up(record: ModelRecord, now: datetime, *, by: str, reason: str) -> ModelRecord:
    """Nobody tries any more, until somebody asks."""
    status = record.upload
    if status is None or status.state == "given_up":
        return record
    why = f"{reason}: {status.reason}" if status.reason else f"{reason}; its process ended while {status.state}"
    hint = f"See to the cause, then 'slipway retry {record.name}', or upload it again. {status.hint or ''}".rstrip()
    after = record.but(upload=status.but(state="given_up", at=now, reason=why, hint=hint, due=None, job=None))
    return after.noting(now, by, f"upload {status.blob} given up", why)


def desired(record: ModelRecord, upload: Upload, now: datetime, version: int, serve: ServeOptions) -> ModelRecord:
    """The version should serve, as these options say. It is not settled before its objects are as they should be."""
    status = _mine(record, upload)
    wanted = record.version(version)
    if wanted.state in GONE:
        raise Conflict(
            "version_gone", f"The servable of '{record.name}' v{version} has just been deleted.", "It is made anew."
        )
    serving = record.route is not None and record.route.version == version and not record.asleep
    same = wanted.serve == serve
    # A version that failed or was retired is rolled out again when it is asked for again.
    state = "published" if wanted.state in ("failed", "retired", "publishing", "held") else wanted.state
    wanted = wanted.but(serve=serve, reason=None, hint=None, state=state, schema_change=())
    settled = serving and same and record.rollout is None
    rollout = record.rollout
    if serving and not same:
        rollout = RolloutStatus(
            version=version, started=now, step="Apply", since=now, looked=now, message="new options"
        )
    record = _superseded(record, version)
    after = record.but(
        desired=version,
        upload=status.but(
            state="serving" if serving else "published", stage=None, version=version, reason=None, hint=None, at=now,
            due=None, stages=(), job=None,
        ),
        asleep=False, setback=None, rollout=rollout, changed_rung=now if record.asleep else record.changed_rung, removed=None,
    )  # fmt: skip
    after = after.with_version(wanted).with_stages(*(stage.but(version=version) for stage in status.stages))
    if settled and record.desired == version:
        return after.noting(now, who(upload), f"v{version} serves already", "the same content and options")
    what = f"v{version} shall serve" if not (serving and not same) else f"v{version} gets other options to serve with"
    return after.noting(now, who(upload), what)


def held(
    record: ModelRecord,
    upload: Upload,
    now: datetime,
    version: int,
    serve: ServeOptions,
    *,
    than: int,
    change: Sequence[str],
) -> ModelRecord:
    """The version is not to serve before its owner accepts what it changes for clients of version ``than``."""
    status = _mine(record, upload)
    breaks = "; ".join(line.removeprefix("! ") for line in change if line.startswith("! "))
    why = f"it breaks what clients of v{than} rely on: {breaks}"
    reason = f"v{version} is held back, for {why}"
    hint = f"When clients are ready, set 'accept_schema_change: true' in {record.name}.yaml: the version then serves as it is."
    kept = record.version(version).but(serve=serve, state="held", reason=reason, hint=hint, schema_change=tuple(change))
    status = status.but(
        state="held", stage="schema", version=version, reason=reason, hint=hint, at=now, due=None, stages=(), job=None
    )
    after = record.but(upload=status).with_version(kept)
    after = after.with_stages(*(stage.but(version=version) for stage in _mine(record, upload).stages))
    return after.noting(now, who(upload), f"v{version} held back", why)


def _superseded(record: ModelRecord, version: int) -> ModelRecord:
    """The record in which a version whose rollout had not come to its end says that another has taken its place."""
    on_its_way = record.desired
    if on_its_way is None or on_its_way == version or record.version(on_its_way).state != "published":
        return record
    told = record.version(on_its_way).but(state="retired", reason=f"superseded by v{version} before it served")
    return record.with_version(told)


def who(upload: Upload) -> str:
    """The upload as a history names it."""
    return f"upload {upload.primary.name}"


def _still_removed(record: ModelRecord) -> Removal | None:
    """The removal of what was there before, as long as objects of it are left in a cluster that is stopped."""
    return None if record.removed is None or record.removed.done else record.removed


def _same(record: ModelRecord, upload: Upload) -> bool:
    return record.upload is not None and record.upload.fingerprint == upload.fingerprint


def _mine(record: ModelRecord, upload: Upload) -> UploadStatus:
    status = record.upload
    removed = record.removed is not None and not record.removed.emptied
    if status is None or status.fingerprint != upload.fingerprint or status.state == "removed" or removed:
        raise Conflict(
            "overwritten", f"'{upload.primary.name}' is not what '{record.name}' is to be made of any more.",
            "It is looked at again.",
        )  # fmt: skip
    return status


def _status(record: ModelRecord, upload: Upload, state: UploadState, now: datetime) -> UploadStatus:
    """The upload's status; of the same upload it keeps the stages and attempts there were."""
    before = record.upload if _same(record, upload) else None
    return UploadStatus(
        blob=upload.primary.name, etag=upload.primary.etag, fingerprint=upload.fingerprint, state=state, at=now,
        stages=before.stages if before is not None else (), attempts=before.attempts if before is not None else 0,
    )  # fmt: skip
