"""Use case: find what events missed. Uploads whose event was lost, and rollouts whose message was.

An upload is left to its event for a grace period, so that the sweep does not race it.
"""

from dataclasses import dataclass
from datetime import timedelta

from deployer.errors import SlipwayError, UploadRefused
from deployer.names import part_of
from deployer.ports import BlobRef, Clock, RolloutQueue, UploadStore
from deployer.record import ModelRecord
from deployer.resolution import Upload, resolve
from deployer.state import State
from deployer.telemetry import logger
from deployer.uploads import Uploads
from exporter import ExportError

log = logger(__name__)

_TAKEN = 5  # uploads taken by one sweep; the next goes on


@dataclass(frozen=True)
class Sweep:
    """``run`` is what the timer function calls."""

    state: State
    store: UploadStore
    uploads: Uploads
    queue: RolloutQueue
    grace: timedelta
    clock: Clock

    def run(self) -> None:
        """Takes uploads nobody took, and asks for a look at every rollout that is not settled."""
        records = {name: record for name in self.state.models() if (record := self.state.find(name)) is not None}
        for record in records.values():
            if not record.settled and self._stalled(record):
                log.info("sweep: a look at '%s'", record.name)
                self.queue.ask(record.name)
        for blob in self._unseen(records)[:_TAKEN]:
            log.info("sweep: '%s' was not taken yet", blob)
            try:
                self.uploads.take(blob)
            except (
                SlipwayError,
                ExportError,
            ):  # may heal: the next sweep tries again, and the others have their turn now
                log.exception("sweep: '%s' could not be taken", blob)

    def _stalled(self, record: ModelRecord) -> bool:
        """Whether nothing was written of the rollout for the grace period; then its message may be lost."""
        return self.clock() - record.updated > self.grace

    def _unseen(self, records: dict[str, ModelRecord]) -> list[str]:
        """The primary blobs of uploads that no record knows as ended."""
        stems: dict[str, list[BlobRef]] = {}
        for blob in self.store.listing(""):
            try:
                stems.setdefault(part_of(blob.name).stem, []).append(blob)
            except UploadRefused:
                continue  # its event told its uploader
        newest: dict[str, Upload] = {}
        for stem, blobs in stems.items():
            upload = resolve(stem, blobs)
            other = newest.get(upload.model) if upload else None
            if upload and (other is None or other.primary.modified < upload.primary.modified):
                newest[upload.model] = upload
        return [
            upload.primary.name
            for upload in newest.values()
            if self.clock() - upload.primary.modified >= self.grace and not _taken(upload, records.get(upload.model))
        ]


def _taken(upload: Upload, record: ModelRecord | None) -> bool:
    known = record.upload if record is not None else None
    if known is None or known.fingerprint != upload.fingerprint:
        return False
    return known.state not in ("scanning", "converting", "publishing")
