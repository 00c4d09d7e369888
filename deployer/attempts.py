"""One attempt at an upload, and what is recorded of one that fails: in the function, and in a Job that it was handed over to.

A permanent failure is recorded and is over. What may heal is recorded, tried again after a pause, and given up after so many
attempts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from deployer import upload_record
from deployer.conversion import Conversion
from deployer.errors import Conflict, SlipwayError, UploadRefused
from deployer.ports import Clock, Lease, UploadStore
from deployer.record import ENDED, ModelRecord
from deployer.resolution import Upload
from deployer.state import State
from deployer.tags import tag_upload
from deployer.telemetry import converted, logger, span
from exporter import ExportError
from exporter.workspace import temporary

log = logger(__name__)

Begun = Callable[[ModelRecord], ModelRecord]


@dataclass(frozen=True)
class Attempts:
    """``most`` attempts at one upload, with a ``pause`` after the first that doubles each time."""

    state: State
    uploads: UploadStore
    conversion: Conversion
    most: int
    pause: timedelta
    clock: Clock

    def make(self, upload: Upload, lease: Lease, begun: Begun) -> None:
        """Makes an attempt; ``begun`` is what the record says when it begins.

        Raises:
            Conflict: the upload changed meanwhile, or is not wanted any more.
            SlipwayError, ExportError: what may heal; recorded.
        """
        tag_upload(self.uploads, self.state.change(upload.model, begun))
        with (
            temporary() as folder,
            self._recorded(upload),
            span("upload", {"model": upload.model}),
        ):
            self.conversion.attempt(upload, lease, folder)

    @contextmanager
    def _recorded(self, upload: Upload) -> Iterator[None]:
        """Around an attempt: its failure is recorded; one that may heal goes on, unless the attempt was the last."""
        try:
            yield
        except Conflict:
            raise
        except UploadRefused as refused:
            self.refuse(upload, refused.stage, refused.message, refused.hint)
        except ExportError as error:
            converted("refused" if error.permanent else "failed")
            if error.permanent:
                self.refuse(upload, error.stage, error.message, error.hint)
            elif not self.set_back(upload, error.message, error.hint):
                raise
        except SlipwayError as error:
            if not self.set_back(upload, error.message, error.hint):
                raise

    def give_up(self, model: str, *, by: str, reason: str) -> None:
        """Nobody tries any more, until somebody asks."""
        now = self.clock()
        record = self.state.change(model, lambda before: upload_record.given_up(before, now, by=by, reason=reason))
        tag_upload(self.uploads, record)

    def exhausted(self, model: str, attempts: int) -> bool:
        """Gives the upload up, if so many attempts are enough."""
        if attempts < self.most:
            return False
        self.give_up(model, by="uploads", reason=f"It failed {attempts} times" if attempts > 1 else "It failed")
        return True

    def refuse(self, upload: Upload, stage: str, reason: str, hint: str) -> None:
        """Notes that the upload will never become a version as it is."""
        log.warning("%s refused at %s: %s %s", upload.primary.name, stage, reason, hint)
        now = self.clock()
        record = self.state.change(
            upload.model,
            lambda before: upload_record.refused(before, upload, now, stage=stage, reason=reason, hint=hint),
        )
        tag_upload(self.uploads, record)

    def set_back(self, upload: Upload, reason: str, hint: str) -> bool:
        """Notes that the attempt failed for what may heal; tells whether it was the last, and the upload is given up."""
        log.warning("%s: %s", upload.primary.name, reason)
        now = self.clock()
        record = self.state.change(
            upload.model,
            lambda before: upload_record.set_back(before, upload, now, reason=reason, hint=hint, pause=self.pause),
        )
        status = record.upload
        if status is None or status.state in ENDED:
            return False
        return self.exhausted(upload.model, status.attempts)
