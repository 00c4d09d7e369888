"""Use case: one upload, through to a published version.

    blobs → Upload → [complete?] → ScanReport → VerifiedServable → published version → record: desired → queue "look at NAME"

One upload, one version: a duplicate event, the same bytes again, a crash and a retry all end at the same version. A lease
lets one instance work on a model at a time; whoever finds it taken leaves, for the holder looks again when it is done.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from deployer import upload_record
from deployer.attempts import Attempts
from deployer.completeness import lacking, mixed
from deployer.errors import Conflict, LeaseLost, UploadRefused
from deployer.export_jobs import ExportJobs
from deployer.names import Part, part_of
from deployer.ports import BlobRef, Clock, Documents, Lease, RolloutQueue, UploadStore
from deployer.record import AT_WORK, ENDED, ModelRecord
from deployer.repair import Repair
from deployer.resolution import Upload, resolve
from deployer.state import State
from deployer.tags import tag_upload, tags_of
from deployer.telemetry import converted, logger

log = logger(__name__)

_NET = timedelta(seconds=60)  # after which a sweep looks at what was handed over to a Job, should its message be lost
_RESTARTS = 5  # how often an upload that is overwritten while at work is begun anew in one invocation


@dataclass(frozen=True)
class UploadPolicy:
    """A directory half overwritten is left alone for ``settle``, one that lacks files is reported after ``unfinished``."""

    settle: timedelta
    unfinished: timedelta


@dataclass(frozen=True)
class Uploads:
    """Takes uploads through; ``take`` is what the blob function calls, ``look`` the queue function for a Job's sake."""

    state: State
    documents: Documents
    uploads: UploadStore
    queue: RolloutQueue
    attempts: Attempts
    jobs: ExportJobs
    repairs: Repair
    policy: UploadPolicy
    clock: Clock

    def take(self, blob: str) -> None:
        """Takes the upload that this blob belongs to as far as it goes now.

        A permanent failure is recorded, with stage, reason and what to do, and the call returns. What may heal is raised,
        until it has been tried too often: then that is recorded.
        """
        try:
            part = part_of(blob)
        except UploadRefused as refused:
            log.warning("%s refused: %s %s", blob, refused.message, refused.hint)
            self.uploads.tag(blob, tags_of("failed", None, f"{refused.message} {refused.hint}"))
            return
        with self.documents.lease(f"upload-{part.model}") as lease:
            if lease is None:
                log.info("%s: another instance is at work on '%s'", blob, part.model)
                self._end_superseded(part)
                return
            try:
                self._take_newest(part, lease)
            except LeaseLost as lost:
                log.warning("%s: %s", blob, lost.message)

    def look(self, model: str, job: str) -> None:
        """Looks at a conversion that was handed over to a Job, and asks for another look until it has ended."""
        record = self.state.find(model)
        if (
            record is not None
            and (status := record.upload) is not None
            and (status.job == job or status.state in ENDED)
        ):
            self.take(status.blob)  # what ended it may have been killed before it said so on the blob
            record = self.state.find(model)
        if record is not None and record.upload is not None and record.upload.job == job:
            self.queue.ask(model, delay_seconds=self.jobs.policy.look_again_seconds, job=job)
        else:
            self.jobs.over(job)

    def gone(self, model: str) -> None:
        """Ends what was at work on an upload that was deleted, unless it goes on: whoever is at it finds that out."""
        record = self.state.find(model)
        if record is not None and record.upload is not None:
            self.take(record.upload.blob)

    def given_up(self, blob: str) -> None:
        """The platform gives up on this blob's event: what its upload came to is recorded, for whoever asks."""
        try:
            part = part_of(blob)
        except UploadRefused:
            return
        upload = resolve(part.stem, self.uploads.listing(part.stem))
        record = self.state.find(part.model)
        if upload is None or record is None or record.upload is None:
            return  # removed, or never noticed: the sweep takes it
        if record.upload.fingerprint != upload.fingerprint or record.upload.state in ENDED or record.upload.job:
            return  # another event is about this one, or its Job goes on
        self.attempts.give_up(record.name, by="the platform", reason="It failed too many times in a row")

    def _take_newest(self, part: Part, lease: Lease) -> None:
        stem, done = part.stem, ""
        for _ in range(_RESTARTS):
            upload = resolve(stem, self.uploads.listing(stem))
            if upload is None:
                self._withdraw(part)
                return
            if upload.fingerprint == done:
                return
            try:
                self._take(upload, lease)
            except LeaseLost:
                raise
            except Conflict as changed:
                log.info("%s is begun anew: %s", upload.primary.name, changed.message)
            else:
                done = upload.fingerprint
        raise Conflict(
            "overwritten", f"'{stem}' was overwritten {_RESTARTS} times while at work.", "It is tried again."
        )

    def _take(self, upload: Upload, lease: Lease) -> None:
        """Takes one upload as far as it goes.

        Raises:
            Conflict: its blobs changed meanwhile, and it must be begun anew.
        """
        record = self.state.find(upload.model)
        if record is None and self.repairs.model(upload.model):
            log.warning("the record of '%s' was lost; it was made anew from its servables", upload.model)
            record = self.state.find(upload.model)
        record = record or ModelRecord(name=upload.model, updated=self.clock())
        known = record.upload if record.upload and record.upload.fingerprint == upload.fingerprint else None
        if known is not None and known.state in ENDED:
            tag_upload(self.uploads, record)  # the call that ended it may have been killed before it said so
            if not record.settled:
                self.queue.ask(upload.model)
            return
        if record.removed is not None and not (record.removed.emptied or record.removed.done):
            log.info("%s: '%s' is being removed; it is taken after that", upload.primary.name, upload.model)
            return
        if self._older(upload, record):
            log.info("%s: '%s' has a newer upload under another spelling", upload.primary.name, upload.model)
            self.uploads.tag(upload.primary.name, tags_of("superseded", None, None))
            return
        if known is not None and known.job is not None:
            self._look(upload, record)
            return
        if self._not_yet(upload, record):
            return
        if known is not None and self.attempts.exhausted(record.name, known.attempts):
            return
        self._supersede(upload, record)
        now = self.clock()
        if self.jobs.wanted(upload):
            self._hand_over(upload)
        else:
            self.attempts.make(upload, lease, lambda before: upload_record.begun(before, upload, now))

    def _hand_over(self, upload: Upload) -> None:
        now = self.clock()
        record = self.state.change(
            upload.model, lambda before: upload_record.handed_over(before, upload, now, due=now + _NET)
        )
        tag_upload(self.uploads, record)
        if record.upload is not None and record.upload.job is not None:
            self.queue.ask(upload.model, delay_seconds=self.jobs.policy.look_again_seconds, job=record.upload.job)
        self._look(upload, record)

    def _look(self, upload: Upload, record: ModelRecord) -> None:
        """Looks at the upload's Job, under the lease: so its process has not begun, or is no more."""
        status = record.upload
        failed = self.jobs.look(upload, record)
        if failed is None or status is None:
            return
        converted("refused" if failed.final else "failed")
        if failed.final:
            self.attempts.refuse(upload, status.stage or status.state, failed.reason, failed.hint)
        else:
            self.attempts.set_back(upload, failed.reason, failed.hint)

    def _withdraw(self, part: Part) -> None:
        """Ends the attempt at an upload that is gone, and its Job: who holds the lease knows that nobody else is at it."""
        record = self.state.find(part.model)
        status = record.upload if record is not None else None
        if status is None or status.state not in AT_WORK or part_of(status.blob).stem != part.stem:
            return
        fingerprint, now = status.fingerprint, self.clock()
        if status.job is not None:
            self.jobs.drop(status.job)
        self.state.change(part.model, lambda before: upload_record.withdrawn(before, fingerprint, now))

    def _end_superseded(self, part: Part) -> None:
        """Deletes the Job that holds the lease, if what it converts has been overwritten or removed meanwhile."""
        record = self.state.find(part.model)
        if record is None or record.upload is None or record.upload.job is None:
            return
        stem = part_of(record.upload.blob).stem
        upload = resolve(stem, self.uploads.listing(stem))
        if upload is None or upload.fingerprint != record.upload.fingerprint:
            log.info("%s: its Job %s is not wanted any more", record.upload.blob, record.upload.job)
            self.jobs.drop(record.upload.job)

    def _older(self, upload: Upload, record: ModelRecord) -> bool:
        """Whether the model's upload is another file, newer than this one: ``Cats_v2`` and ``cats-v2`` are one model."""
        if record.upload is None or part_of(record.upload.blob).stem == upload.stem:
            return False
        newest = self.uploads.find(record.upload.blob)
        return newest is not None and newest.modified > upload.primary.modified

    def _supersede(self, upload: Upload, record: ModelRecord) -> None:
        """Tells so on the blob whose place another takes; within a directory the tags move to its saved_model.pb."""
        if record.upload is not None and record.upload.job is not None:
            self.jobs.drop(record.upload.job)
        before = record.upload.blob if record.upload is not None else upload.primary.name
        if before == upload.primary.name:
            return
        if any(blob.name == before for blob in upload.blobs):
            self.uploads.tag(before, tags_of("", None, None))
        else:
            self.uploads.tag(before, tags_of("superseded", None, f"by {upload.primary.name}"))

    def _not_yet(self, upload: Upload, record: ModelRecord) -> bool:
        """Whether more of the upload is to come; that is recorded."""
        now, policy = self.clock(), self.policy
        settled = upload.newest + policy.settle
        lack = lacking(upload, self._read)
        change: Callable[[ModelRecord], ModelRecord]
        if lack is not None and (lack.certain or now < settled):
            late = upload.newest + policy.unfinished
            if lack.certain and now >= late:
                reason = f"still without {lack.what} after {policy.unfinished.total_seconds() / 60:g} minutes"
                change = lambda before: upload_record.unfinished(before, upload, now, reason=reason)  # noqa: E731
            else:
                due = late if lack.certain else settled
                reason = f"waiting for {lack.what}"
                change = lambda before: upload_record.waiting(before, upload, now, reason=reason, due=due)  # noqa: E731
        elif mixed(upload, record.taken) and now < settled:
            reason = "only some of its files were overwritten so far; they are left to settle"
            change = lambda before: upload_record.waiting(before, upload, now, reason=reason, due=settled)  # noqa: E731
        else:
            return False
        self._supersede(upload, record)
        tag_upload(self.uploads, self.state.change(upload.model, change))
        return True

    def _read(self, blob: BlobRef) -> bytes:
        stored = self.uploads.read(blob.name)
        if stored is None or stored.etag.strip('"') != blob.etag:
            raise Conflict("overwritten", f"'{blob.name}' changed while it was read.", "It is begun anew.")
        return stored.data
