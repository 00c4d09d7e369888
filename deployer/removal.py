"""Use case: a model goes, by command or because its upload was deleted.

To remove is one decision in the record, and then work that may be cut short and done twice; the sweep finishes it:

    record: removed, no route → Kubernetes objects → servables → (uploads, if asked) → timelines → record: done

Where the cluster is stopped, its objects go when it next runs, and all else at once: what is dropped meanwhile is taken, and
nothing of it is removed. The record stays, for its version numbers must never be used again; its history stays with it.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from deployer.errors import ClusterDeleted, ClusterUnreachable, Unavailable, UploadRefused
from deployer.names import bridge_name, part_of
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
        dropped = self._dropped(model) if uploads else {}

        def removed(record: ModelRecord) -> ModelRecord:
            if record.removed is not None and record.upload is not None and record.upload.state == "removed":
                wider = record.removed.but(
                    uploads=record.removed.uploads or uploads, dropped=record.removed.dropped | dropped,
                    emptied=record.removed.emptied and not uploads,
                )  # fmt: skip
                return record.but(removed=wider)
            status = record.upload
            if status is not None:
                status = status.but(state="removed", at=now, stage=None, reason=None, hint=None, due=None, job=None)
            return (
                _without_versions(record)
                .but(removed=Removal(at=now, uploads=uploads, dropped=dropped), versions=(), upload=status)
                .noting(now, by, "removed", "with its uploads" if uploads else "its uploads stay in the drop container")
            )

        self.state.change(model, removed)
        if status is not None and status.job is not None:
            with suppress(Unavailable):  # else its process finds out by itself that it is not wanted
                self.workloads.delete_job(status.job)
        return self.finish(model)

    def retire(self, model: str, fingerprint: str | None, *, by: str, why: str) -> None:
        """Nothing of the model serves any more, if this is its newest upload still; its versions can be gone back to."""
        now = self.clock()

        def retired(record: ModelRecord) -> ModelRecord:
            if record.removed is not None or record.upload is None or record.upload.state == "deleted":
                return record
            if record.upload.fingerprint != fingerprint:  # it has been dropped anew meanwhile
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
            objects = self._remove_objects(record)
            if objects == "kept":
                return False
            if not record.removed.emptied:
                lease.check()
                self._empty(model, record.removed)
                self.state.change(model, _emptied)
            if objects == "stopped":
                return False
            now = self.clock()
            self.state.change(model, lambda before: _done(before).noting(now, "removal", "all of it is gone"))
            return True

    def _empty(self, model: str, removal: Removal) -> None:
        unpublish(self.servables, model)
        if removal.uploads:
            self._drop_uploads(model, removal.dropped)
        self.state.forget_timelines(model)
        self.state.forget_figures(model)
        self.state.forget_keys(model)

    def _remove_objects(self, record: ModelRecord) -> Literal["gone", "stopped", "kept"]:
        """Takes the model out of Kubernetes. ``stopped``: nothing of it runs, and its objects go when the cluster does again."""
        try:
            if self.cluster.state().power == "Stopped":
                return "stopped"
            self.workloads.delete_model(record.name)
            if record.bridge is not None:
                self.workloads.delete_model(bridge_name(record.name))
        except ClusterDeleted:
            return "gone"  # with the cluster
        except ClusterUnreachable as error:
            log.warning("'%s' is not removed from the cluster yet: %s", record.name, error.message)
            return "kept"
        return "gone"

    def _drop_uploads(self, model: str, dropped: Mapping[str, str]) -> None:
        """Removes what lay there when the removal was commanded; what came later is another upload."""
        for name, etag in self._dropped(model).items():
            if dropped.get(name) == etag:
                self.uploads.remove(name)

    def _dropped(self, model: str) -> dict[str, str]:
        """The blobs of a model in the drop container, with their ETags."""
        found = {}
        for blob in self.uploads.listing(""):
            try:
                part = part_of(blob.name)
            except UploadRefused:
                continue
            if part.model == model:
                found[blob.name] = blob.etag
        return found


def _without_versions(record: ModelRecord) -> ModelRecord:
    bridge = record.bridge.but(address=None) if record.bridge is not None else None  # its objects go at the next look
    return record.but(
        desired=None, previous=None, route=None, rollout=None, asleep=False, setback=None, stages=(), taken={},
        bridge=bridge,
    )  # fmt: skip


def _emptied(record: ModelRecord) -> ModelRecord:
    return record if record.removed is None else record.but(removed=record.removed.but(emptied=True))


def _done(record: ModelRecord) -> ModelRecord:
    """The removal is over; the model is there again where something was dropped meanwhile."""
    if record.removed is None:
        return record
    again = record.upload is not None and record.upload.state != "removed"
    return record.but(removed=None if again else record.removed.but(done=True))
