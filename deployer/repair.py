"""Makes the record of a model anew from what is left where the state container was lost.

    servables   → versions: servable.json tells what each was made of, saved_model.pb that it is whole
    the cluster → which version serves (the stable Service selects it), at what address, with which options
    the drop    → what was taken already (index tags), so that it is not taken again

A model without pods is put down as asleep: its next request wakes it. Nothing is started for a repair, and nothing is made
while the cluster runs and does not answer: what serves could be taken for what sleeps.
"""

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from deployer.errors import UploadRefused
from deployer.names import bridge_name
from deployer.options import ServeOptions, parse_options
from deployer.ports import BlobRef, Clock, Cluster, RolloutQueue, ServableStore, UploadStore, Workload, Workloads
from deployer.record import Bridge, ModelRecord, Route, UploadState, UploadStatus, VersionRecord
from deployer.resolution import Upload, newest_uploads
from deployer.state import State
from exporter import Manifest

log = logging.getLogger(__name__)

_ROOT = "saved_model.pb"
_MANIFEST = "servable.json"
# What a tag says of an upload that came to its end, as a record says it.
_ENDS: Mapping[str, UploadState] = {
    "published": "published", "serving": "serving", "failed": "failed", "given_up": "given_up", "removed": "removed",
    "deleted": "deleted",
}  # fmt: skip


@dataclass(frozen=True)
class Shelf:
    """A model's versions as they lie in the servable container: those that are whole, with size and time, and all numbers."""

    whole: Mapping[int, tuple[int, datetime]] = field(default_factory=dict)
    numbers: frozenset[int] = frozenset()


def shelves(listed: Iterable[BlobRef]) -> dict[str, Shelf]:
    """What the servable container holds, by model, from one listing. Pure."""
    files: dict[str, dict[int, list[BlobRef]]] = {}
    for blob in listed:
        model, _, rest = blob.name.partition("/")
        number, slash, _ = rest.partition("/")
        if slash and number.isdecimal():
            files.setdefault(model, {}).setdefault(int(number), []).append(blob)
    return {
        model: Shelf(
            {
                number: (sum(blob.size for blob in blobs), root.modified)
                for number, blobs in versions.items()
                for root in blobs
                if root.name == f"{model}/{number}/{_ROOT}"
            },
            frozenset(versions),
        )
        for model, versions in files.items()
    }


@dataclass(frozen=True)
class Repair:
    """``run`` makes what is missing, ``model`` one record before it would begin empty."""

    state: State
    uploads: UploadStore
    servables: ServableStore
    cluster: Cluster
    workloads: Workloads
    queue: RolloutQueue
    clock: Clock

    def model(self, name: str) -> bool:
        """Makes the record of a model that has none and has servables, so that no version of it is made or numbered twice.

        Raises:
            ClusterUnreachable: the cluster runs and does not tell what serves.
        """
        return bool(self._make(shelves(self.servables.listing(f"{name}/"))))

    def run(self) -> list[str]:
        """Makes each record that is missing; tells of which models. Safe to repeat.

        Raises:
            ClusterUnreachable: the cluster runs and does not tell what serves.
        """
        known = set(self.state.models())
        return self._make(
            {name: shelf for name, shelf in shelves(self.servables.listing("")).items() if name not in known}
        )

    def lost(self) -> list[str]:
        """The models that have a published version and no record."""
        known = set(self.state.models())
        found = shelves(self.servables.listing(""))
        return sorted(name for name, shelf in found.items() if shelf.whole and name not in known)

    def _make(self, lost: Mapping[str, Shelf]) -> list[str]:
        if not lost:
            return []
        dropped = newest_uploads(self.uploads.listing(""))
        made = []
        for name, shelf in sorted(lost.items()):
            record = self._record(name, shelf, dropped.get(name))
            if self.state.restore(record):
                made.append(name)
                self.queue.ask(name)
        return made

    def _record(self, name: str, shelf: Shelf, upload: Upload | None) -> ModelRecord:
        now = self.clock()
        selected, objects = self._objects(name)
        versions = {
            number: made for number in sorted(shelf.whole) if (made := self._version(name, number, shelf)) is not None
        }
        status = None if upload is None else self._status(upload, versions, now)
        failed = status.version if status is not None and status.state == "failed" else None
        good = [number for number in versions if number != failed]
        served = _served(selected, status, versions)
        desired = _desired(served, status, good)
        awake = any(number in (desired, served) and work.replicas > 0 for number, work in objects.items())
        work = objects.get(selected) if selected is not None and selected == served else None
        route = None
        if work is not None and awake and work.complete and work.address is not None:
            route = Route(version=work.version, address=work.address)
        for number, version in versions.items():
            if number in (desired, served):
                serve = self._serve(upload if number == desired else None, objects.get(number))
                versions[number] = version.but(state="serving" if number == served else "published", serve=serve)
            elif number == failed and status is not None:
                versions[number] = version.but(state="failed", reason=status.reason)
            else:
                versions[number] = version.but(state="retired")
        record = ModelRecord(
            name=name, updated=now, upload=status, versions=tuple(versions.values()), next_version=max(shelf.numbers) + 1,
            desired=desired, route=route, asleep=desired is not None and not awake, changed_rung=now,
            previous=_previous(desired, served, good), bridge=self._bridge(name), decided=self.state.decided(name),
            taken={blob.name: blob.etag for blob in upload.blobs} if upload is not None and status is not None else {},
        )  # fmt: skip
        return record.noting(
            now, "doctor", "record made anew", "it was lost; the servables and the cluster told the rest"
        )

    def _version(self, name: str, number: int, shelf: Shelf) -> VersionRecord | None:
        size, made = shelf.whole[number]
        stored = self.servables.read(f"{name}/{number}/{_MANIFEST}")
        try:
            manifest = Manifest.model_validate_json(stored.data) if stored is not None else None
        except ValidationError as error:
            log.warning("'%s/%s/%s' cannot be read: %s", name, number, _MANIFEST, error)
            manifest = None
        if manifest is None:
            return None
        return VersionRecord(
            version=number, identity=manifest.identity or f"unknown-{number}", state="published", created=made,
            bytes=size, source=manifest.source.model_dump(mode="json"),
            signatures={key: item.model_dump(mode="json") for key, item in manifest.signatures.items()},
            labels=len(manifest.labels) if manifest.labels else None, parity=manifest.parity.max_abs_error,
        )  # fmt: skip

    def _objects(self, name: str) -> tuple[int | None, dict[int, Workload]]:
        if not self._runs():
            return None, {}
        return self.workloads.selected(name), {work.version: work for work in self.workloads.of(name)}

    def _bridge(self, name: str) -> Bridge | None:
        """The replica on CPU that stands there, to be proven anew or taken away."""
        found = self.workloads.of(bridge_name(name)) if self._runs() else ()
        return Bridge(version=found[0].version) if found else None

    def _runs(self) -> bool:
        return self.cluster.state().power != "Stopped"

    def _serve(self, upload: Upload | None, work: Workload | None) -> ServeOptions:
        """The options as the file beside the upload says them, else as the version's objects were rendered."""
        for blob in upload.sidecars if upload is not None else ():
            stored = self.uploads.read(blob.name) if blob.name.endswith(".yaml") else None
            if stored is not None:
                try:
                    return parse_options(stored.data.decode("utf-8", errors="replace"), where=blob.name).serve
                except UploadRefused as refused:
                    log.warning("%s", refused.message)
        try:
            return ServeOptions.model_validate_json(work.options) if work is not None else ServeOptions()
        except ValidationError as error:
            log.warning("the options of '%s' cannot be read from its objects: %s", work and work.version, error)
            return ServeOptions()

    def _status(self, upload: Upload, versions: Container[int], now: datetime) -> UploadStatus | None:
        """The upload's status as its tags tell it, which a new content would not have; None: it was not taken yet."""
        tags = self.uploads.tags(upload.primary.name)
        state = _ENDS.get(tags.get("slipway_state", ""))
        number = tags.get("slipway_version", "")
        version = int(number) if number.isdecimal() else None
        if state is None or (state in ("published", "serving") and version not in versions):
            return None
        return UploadStatus(
            blob=upload.primary.name, etag=upload.primary.etag, fingerprint=upload.fingerprint, state=state, at=now,
            version=version, reason=tags.get("slipway_reason"),
        )  # fmt: skip


def _served(selected: int | None, status: UploadStatus | None, versions: Container[int]) -> int | None:
    """The version that clients know: the stable Service selects it, or, where that does not answer, its upload says so."""
    if selected is not None:
        return selected if selected in versions else None
    return status.version if status is not None and status.state == "serving" else None


def _desired(served: int | None, status: UploadStatus | None, good: Sequence[int]) -> int | None:
    """The version whose rollout was under way (nothing is said against it, as where it was gone back from), or that served."""
    if status is not None and status.state == "published" and (not status.reason or served is None):
        return status.version
    if served is not None:
        return served
    return None if status is not None and status.state in ("removed", "deleted") else max(good, default=None)


def _previous(desired: int | None, served: int | None, good: Sequence[int]) -> int | None:
    """What may be gone back to: what served, else the newest before, else after, the desired version."""
    if served != desired:
        return served
    others = [number for number in good if number != desired]
    return max([number for number in others if desired is not None and number < desired] or others, default=None)
