"""Use case: find what events missed, and finish what was cut short.

Uploads whose event was lost or whose time has come, rollouts whose message was, removals under way, uploads that were
deleted. An upload is left to its event for a grace period, so that the sweep does not race it. What a sweep that finds
nothing costs is two listings, whatever the number of models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from deployer.errors import SlipwayError
from deployer.glance import Glance
from deployer.ports import Clock, Documents, RolloutQueue, UploadStore
from deployer.record import AT_WORK
from deployer.removal import Removals
from deployer.resolution import Upload, newest_uploads
from deployer.state import State
from deployer.telemetry import logger
from deployer.uploads import Uploads
from exporter import ExportError

log = logger(__name__)

HEARTBEAT = "timers/sweep"
_TAKEN = 5  # uploads taken by one sweep; the next goes on


@dataclass(frozen=True)
class Sweep:
    """``run`` is what the timer function calls."""

    state: State
    documents: Documents
    store: UploadStore
    uploads: Uploads
    removals: Removals
    queue: RolloutQueue
    grace: timedelta
    retire_deleted: bool
    clock: Clock

    def run(self) -> None:
        """Takes uploads nobody took, asks for a look at rollouts that are not settled, and finishes removals."""
        self.documents.put(HEARTBEAT, b"")
        glances = {glance.name: glance for glance in self.state.glances(renew=True)}
        for glance in glances.values():
            if glance.removing:
                self._each(glance.name, lambda name=glance.name: self.removals.finish(name))  # type: ignore[misc]  # bound
            elif not glance.settled and self._stalled(glance):
                log.info("sweep: a look at '%s'", glance.name)
                self.queue.ask(glance.name)
        found = newest_uploads(self.store.listing(""))
        due = [upload for upload in found.values() if self._due(upload, glances.get(upload.model))]
        at_jobs = [upload for upload in due if upload.model in glances and glances[upload.model].job]
        others = [upload for upload in due if upload not in at_jobs]
        for upload in (*others[:_TAKEN], *at_jobs):  # a look at a Job takes no conversion's time
            log.info("sweep: '%s' is to be taken", upload.primary.name)
            self._each(upload.primary.name, lambda blob=upload.primary.name: self.uploads.take(blob))  # type: ignore[misc]
        for glance in glances.values():
            if glance.name not in found and glance.upload in AT_WORK and self._at_rest(glance):
                self._each(glance.name, lambda name=glance.name: self.uploads.gone(name))  # type: ignore[misc]  # bound
        if self.retire_deleted:
            for glance in glances.values():
                if glance.name not in found and glance.upload not in (None, "deleted", "removed", *AT_WORK):
                    self.removals.retire(glance.name, glance.fingerprint, by="sweep", why="Its upload was deleted.")

    def _each(self, what: str, call: Callable[[], object]) -> None:
        """Calls; what may heal is tried again by the next sweep, and the others have their turn now."""
        try:
            call()
        except (SlipwayError, ExportError):
            log.exception("sweep: '%s' did not come to its end", what)

    def _stalled(self, glance: Glance) -> bool:
        """Whether nothing was written of the rollout for the grace period; then its message may be lost."""
        now = self.clock()
        return now - glance.updated > self.grace and (glance.after is None or now >= glance.after)

    def _due(self, upload: Upload, glance: Glance | None) -> bool:
        """Whether nobody took the upload, or it is to be looked at again by now."""
        now = self.clock()
        if glance is None or glance.fingerprint != upload.fingerprint:
            return now - upload.primary.modified >= self.grace
        return (glance.due is not None or glance.upload in AT_WORK) and self._at_rest(glance)

    def _at_rest(self, glance: Glance) -> bool:
        """Whether an upload is to be looked at again by now, or may have been killed at work: then the lease tells."""
        now = self.clock()
        return now >= glance.due if glance.due is not None else now - glance.updated >= self.grace
