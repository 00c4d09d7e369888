"""Use case: say what is wrong around the app, and make lost records anew from what else there is.

``examine`` only looks: settings, storage, queues, timers, the cluster, and whether records, servables and objects agree.
``repair`` makes the records of models whose record is gone (``deployer.repair``); it changes no record that there is.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from deployer.errors import SlipwayError, UploadRefused
from deployer.names import part_of
from deployer.ports import Clock, Cluster, Documents, Queues, ServableStore, UploadStore, Workloads
from deployer.record import ModelRecord
from deployer.repair import Repair, Shelf, shelves
from deployer.settings import ClusterSettings
from deployer.state import State

Level = Literal["ok", "warning", "error"]

POISON_QUEUES = ("webjobs-blobtrigger-poison", "rollouts-poison")
_TIMERS = {"sweep": timedelta(minutes=5), "teardown": timedelta(minutes=15)}
_UNSEEN = timedelta(minutes=10)  # an upload that no record knows after this time was missed by the sweep, too
_REPAIR = "'slipway doctor --repair' makes it anew."


@dataclass(frozen=True)
class Finding:
    """What one check found; ``hint`` says what to do."""

    check: str
    level: Level
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Doctor:
    """``examine`` and ``repair`` are what users call."""

    settings: ClusterSettings
    state: State
    documents: Documents
    uploads: UploadStore
    servables: ServableStore
    queues: Queues
    cluster: Cluster
    workloads: Workloads
    repairs: Repair
    clock: Clock

    def examine(self) -> dict[str, Any]:
        """All findings, by check."""
        checks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
            ("settings", self._settings), ("storage", self._storage), ("queues", self._queues),
            ("timers", self._timers), ("cluster", self._cluster), ("models", self._models), ("uploads", self._uploads),
        )  # fmt: skip
        findings = [finding for name, check in checks for finding in _guarded(name, check)]
        return {"healthy": all(item.level != "error" for item in findings), "findings": [asdict(i) for i in findings]}

    def repair(self) -> dict[str, Any]:
        """Makes lost records anew; then examines."""
        repaired = self.repairs.run()
        return {"repaired": repaired} | self.examine()

    def _settings(self) -> Iterator[Finding]:
        for name in ("subscription_id", "resource_group", "name"):
            if not self.settings.model_dump()[name]:
                setting = f"SLIPWAY_CLUSTER__{name.upper()}"
                yield Finding("settings", "error", f"{setting} is not set.", "Set it in the app's settings.")

    def _storage(self) -> Iterator[Finding]:
        for name, store in (("models", self.uploads), ("servables", self.servables), ("slipway", self.documents)):
            yield from _guarded(f"container {name}", lambda store=store: _touch(store.listing("locks/")))  # type: ignore[misc]

    def _queues(self) -> Iterator[Finding]:
        if self.queues.waiting("rollouts") is None:
            yield Finding("queues", "error", "The queue 'rollouts' is not there.", "Create it; infra/ does.")
        for queue in POISON_QUEUES:
            if count := self.queues.waiting(queue):
                yield Finding(
                    "queues", "warning", f"{count} messages wait in '{queue}', which the app empties by itself.",
                    "If they stay, see the log of the functions upload_given_up and rollout_given_up.",
                )  # fmt: skip

    def _timers(self) -> Iterator[Finding]:
        ran = {blob.name.removeprefix("timers/"): blob.modified for blob in self.documents.listing("timers/")}
        for name, limit in _TIMERS.items():
            last = ran.get(name)
            if last is None or self.clock() - last > limit:
                when = "never ran" if last is None else f"ran last at {last:%Y-%m-%d %H:%M} UTC"
                hint = (
                    "Check that the function is enabled and that its host is up; after a new deployment, wait a little."
                )
                yield Finding("timers", "warning", f"The timer '{name}' {when}.", hint)

    def _cluster(self) -> Iterator[Finding]:
        state = self.cluster.state()
        if state.provisioning == "Failed":
            yield Finding(
                "cluster", "warning", "The cluster's last operation failed.", "See its activity log on Azure."
            )
        if state.power == "Running" and not state.busy:
            self.workloads.nodes()

    def _models(self) -> Iterator[Finding]:
        on_shelf = shelves(self.servables.listing(""))
        running = self.cluster.state().power == "Running"
        known = set()
        for name in self.state.models():
            known.add(name)
            yield from _guarded(name, lambda name=name: self._model(name, on_shelf.get(name), running=running))  # type: ignore[misc]
        for name in sorted(on_shelf.keys() - known):
            if on_shelf[name].whole:
                yield Finding(name, "error", f"'{name}' has servables and no record: it was lost.", _REPAIR)

    def _model(self, name: str, shelf: Shelf | None, *, running: bool) -> Iterator[Finding]:
        record = self.state.find(name)
        if record is None:
            return
        shelf = shelf or Shelf()
        for version in record.versions:
            if version.state in ("published", "serving") and version.version not in shelf.whole:
                yield Finding(
                    name, "error", f"The files of '{name}' v{version.version} are gone from 'servables'.",
                    "Drop the model again with another content, or bring the files back (soft delete).",
                )  # fmt: skip
        for number in sorted(shelf.whole):
            if not record.has(number) and (record.removed is None or record.removed.done):
                path = f"servables/{name}/{number}"
                yield Finding(
                    name, "warning", f"'{path}' belongs to no version.", "Nothing serves it: it may be deleted."
                )
        yield from _standing(record)
        if running and record.settled and record.route is not None:
            selected = self.workloads.selected(name)
            if selected != record.route.version:
                yield Finding(
                    name, "warning", f"'{name}' serves v{record.route.version}, and its Service selects {selected}.",
                    f"'slipway retry {name}', or delete the Service; the next rollout makes it anew.",
                )  # fmt: skip

    def _uploads(self) -> Iterator[Finding]:
        known = {glance.name for glance in self.state.glances()}
        for blob in self.uploads.listing(""):
            try:
                model = part_of(blob.name).model
            except UploadRefused:
                continue
            if model not in known and self.clock() - blob.modified > _UNSEEN:
                known.add(model)
                hint = "See the timer 'sweep' and the log of model_uploaded."
                yield Finding("uploads", "warning", f"'{blob.name}' was never taken.", hint)


def _standing(record: ModelRecord) -> Iterator[Finding]:
    upload = record.upload
    if upload is not None and upload.state in ("given_up", "unfinished"):
        yield Finding(record.name, "warning", f"{upload.blob}: {upload.reason}", upload.hint or "")
    if record.setback is not None:
        hint = f"It is tried again at {record.setback.until:%H:%M} UTC, or by 'slipway retry {record.name}'."
        yield Finding(record.name, "warning", record.setback.reason, hint)


def _touch(listed: Iterable[object]) -> tuple[Finding, ...]:
    next(iter(listed), None)
    return ()


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """The check's findings; a part that does not answer is one, and nothing at all is "ok"."""
    try:
        found = list(check())
    except SlipwayError as error:
        return [Finding(name, "error", error.message, error.hint)]
    return found or [Finding(name, "ok", "")]
