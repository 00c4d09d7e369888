"""Use case: a model goes, by command or because its upload was deleted.

To remove is one decision in the record, and then work that may be cut short and done twice; the sweep finishes it:

    record: removed, no route → Kubernetes objects → servables → (uploads, if asked) → timelines → record: done

The record stays, for its version numbers must never be used again; its history stays with it.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass

from deployer.errors import ClusterUnreachable, Unavailable, UploadRefused
from deployer.names import part_of
from deployer.ports import Clock, Cluster, Documents, RolloutQueue, ServableStore, UploadStore, Workloads
from deployer.publishing import unpublish
from deployer.record import ModelRecord, Removal, RolloutStatus
from deployer.state import State

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removals:
    """Retires and removes models."""

    state: State
    documents: Documents
    uploads: UploadStore
    servables: ServableStore
    cluster: Cluster
    workloads: Workloads
    queue: RolloutQueue
    clock: Clock

    def remove(self, model: str, *, uploads: bool, by: str) -> bool:
        """Removes a model and all its versions, and with ``uploads`` what was dropped; tells whether all is gone already.

        Raises:
            NotFound: there is none of that name.
        """
        status = self.state.model(model).upload
        now = self.clock()

        def removed(record: ModelRecord) -> ModelRecord:
            if record.removed is not None:
                wider = record.removed.but(uploads=record.removed.uploads or uploads)
                return record.but(removed=wider)
            status = record.upload
            if status is not None:
                status = status.but(state="removed", at=now, stage=None, reason=None, hint=None, due=None, job=None)
            return (
                _without_versions(record)
                .but(removed=Removal(at=now, uploads=uploads), versions=(), upload=status)
                .noting(now, by, "removed", "with its uploads" if uploads else "its uploads stay in the drop container")
            )

        self.state.change(model, removed)
        if status is not None and status.job is not None:
            with suppress(Unavailable):  # else its process finds out by itself that it is not wanted
                self.workloads.delete_job(status.job)
        return self.finish(model)

    def retire(self, model: str, *, by: str, why: str) -> None:
        """Nothing of the model serves any more; its versions stay, and can be gone back to."""
        now = self.clock()

        def retired(record: ModelRecord) -> ModelRecord:
            if record.removed is not None or record.upload is None or record.upload.state == "deleted":
                return record
            # Not settled before its objects are gone, so that a lost message is asked for again.
            leaving = record.rollout or (
                RolloutStatus(version=record.route.version, started=now, step="Retire", since=now, looked=now)
                if record.route is not None
                else None
            )
            after = _without_versions(record).but(rollout=leaving, stages=record.stages)
            for version in record.versions:
                if version.state in ("serving", "published"):
                    after = after.with_version(version.but(state="retired"))
            status = record.upload.but(state="deleted", at=now, stage=None, reason=why, hint=None, due=None)
            return after.but(upload=status).noting(now, by, "retired", why)

        self.state.change(model, retired)
        self.queue.ask(model)

    def finish(self, model: str) -> bool:
        """Does what is left of a removal; tells whether nothing is."""
        with self.documents.lease(f"upload-{model}") as lease:
            if lease is None:
                return False  # a conversion is under way; it finds that it is not wanted any more
            record = self.state.find(model)
            if record is None or record.removed is None:
                return True
            if record.removed.done:
                return True
            if not self._objects_gone(model):
                return False
            lease.check()
            unpublish(self.servables, model)
            if record.removed.uploads:
                self._drop_uploads(model)
            self.state.forget_timelines(model)
            self.state.forget_figures(model)
            self.state.forget_keys(model)
            now = self.clock()
            self.state.change(model, lambda before: _done(before).noting(now, "removal", "all of it is gone"))
            return True

    def _objects_gone(self, model: str) -> bool:
        if self.cluster.state().power == "Stopped":
            return False  # the objects go when it runs again
        try:
            self.workloads.delete_model(model)
        except ClusterUnreachable as error:
            log.warning("'%s' is not removed from the cluster yet: %s", model, error.message)
            return False
        return True

    def _drop_uploads(self, model: str) -> None:
        for blob in list(self.uploads.listing("")):
            try:
                part = part_of(blob.name)
            except UploadRefused:
                continue
            if part.model == model:
                self.uploads.remove(blob.name)


def _without_versions(record: ModelRecord) -> ModelRecord:
    return record.but(
        desired=None, previous=None, route=None, rollout=None, asleep=False, setback=None, stages=(), taken={}
    )


def _done(record: ModelRecord) -> ModelRecord:
    return record if record.removed is None else record.but(removed=record.removed.but(done=True))
