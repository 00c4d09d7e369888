"""Use case: the upload that was handed over to a Job, taken on in the Job's own process.

It is the same attempt, with the same record, lease, checks and errors, as one in the function (``deployer.attempts``); so a Job
that is killed leaves what a killed function leaves. ``deployer.export_job`` is the Job's entry point; ``deployer.export_jobs``
is what the function does of it.
"""

from dataclasses import dataclass

from deployer import upload_record
from deployer.attempts import Attempts
from deployer.errors import Conflict, LeaseLost
from deployer.names import model_name
from deployer.ports import Clock, Documents, Lease, UploadStore
from deployer.resolution import Upload, resolve
from deployer.state import State
from deployer.telemetry import logger

log = logger(__name__)

_TRIES = 5  # how often an attempt is begun anew whose record another wrote


@dataclass(frozen=True)
class HandedOver:
    """``run`` is what the Job calls."""

    state: State
    documents: Documents
    uploads: UploadStore
    attempts: Attempts
    clock: Clock

    def run(self, stem: str, job: str) -> bool:
        """Makes the attempt that this Job was given; False where somebody else holds the upload just now.

        An upload that is another by now, or another's, is left alone.

        Raises:
            SlipwayError, ExportError: what may heal; recorded, and tried again by another Job.
        """
        with self.documents.lease(f"upload-{model_name(stem)}") as lease:
            if lease is None:
                return False
            self._run(stem, job, lease)
        self.state.change_cluster(lambda before: before.without_export(job))
        return True

    def _run(self, stem: str, job: str, lease: Lease) -> None:
        for _ in range(_TRIES):
            upload = self._mine(stem, job)
            if upload is None:
                log.info("'%s' is not for the Job %s any more", stem, job)
                return
            try:
                self._make(upload, lease, job)
            except LeaseLost:
                raise
            except Conflict as changed:
                log.info("%s is looked at again: %s", upload.primary.name, changed.message)
            else:
                return
        raise Conflict("overwritten", f"The record of '{stem}' was changed {_TRIES} times.", "It is tried again.")

    def _make(self, upload: Upload, lease: Lease, job: str) -> None:
        now = self.clock()
        self.attempts.make(upload, lease, lambda before: upload_record.taken_on(before, upload, now, job=job))

    def _mine(self, stem: str, job: str) -> Upload | None:
        """The upload as it lies there, if it is still the one that this Job was given."""
        upload = resolve(stem, self.uploads.listing(stem))
        record = self.state.find(model_name(stem))
        if upload is None or record is None or record.upload is None or record.upload.state == "removed":
            return None
        given = (record.upload.fingerprint, record.upload.job) == (upload.fingerprint, job)
        return upload if given else None
