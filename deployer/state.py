"""Records under ETag conditions: read, change by a pure function, write; again if somebody else wrote first.

What must be known of all models stands in the metadata of their records (``deployer.glance``): one listing tells it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from deployer.canary import Figures
from deployer.errors import Conflict, NotFound, SlipwayError
from deployer.figures import figures_of, forget_figures
from deployer.glance import KEY, Glance, glance_of, metadata_of, told_by
from deployer.ports import Clock, Documents
from deployer.record import ClusterRecord, ModelRecord
from deployer.timeline import BATCH, KEPT_STAGES, Entry, History, Stage, Timeline, merged

log = logging.getLogger(__name__)

_ATTEMPTS = 20
_CLUSTER = "cluster.json"
_MODELS = "models/"
_RENEWED = 500  # records of an earlier Slipway that one listing brings up to date

D = TypeVar("D", bound=BaseModel)


class State:
    """The typed documents of the state container."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    def models(self) -> Iterator[str]:
        """The names of all models that have a record."""
        for blob in self._documents.listing(_MODELS):
            yield _named(blob.name)

    def glances(self, *, strict: bool = False, renew: bool = False) -> Iterator[Glance]:
        """What must be known of each model: one listing, and a read of each record whose metadata does not tell.

        Args:
            strict: a record that cannot be read is an error, not left out with a line in the log.
            renew: what an earlier Slipway wrote is written again with its metadata, so that it needs no read any more.
        """
        renewed = 0
        for blob in self._documents.listing(_MODELS):
            if (known := told_by(blob.metadata)) is not None:
                yield known
                continue
            try:
                stored = self._documents.read(blob.name)
                record = None if stored is None else _parsed(blob.name, stored.data, ModelRecord)
            except SlipwayError as error:  # changed by hand, say; the others are not to suffer for it
                if strict:
                    raise
                log.error("%s", error.message)
                continue
            if stored is None or record is None:
                continue
            if renew and KEY not in blob.metadata and renewed < _RENEWED:
                renewed += 1
                with suppress(Conflict):  # whoever was first has written its metadata
                    self._write(blob.name, record, stored.etag)
            yield glance_of(record)

    def find(self, model: str) -> ModelRecord | None:
        """The model's record, or None."""
        return self._read(_model(model), ModelRecord)

    def model(self, model: str) -> ModelRecord:
        """The model's record.

        Raises:
            NotFound: ``unknown_model``.
        """
        record = self.find(model)
        if record is None or (record.removed is not None and record.removed.done):
            raise NotFound(
                "unknown_model", f"There is no model '{model}'.",
                "GET /api/models lists those there are; drop a file into the container 'models' to make one.",
            )  # fmt: skip
        return record

    def change(self, model: str, change: Callable[[ModelRecord], ModelRecord]) -> ModelRecord:
        """Changes a model's record, which is made if there is none; returns what is stored now.

        ``change`` is called anew on each conflict and must be pure. Returning its argument writes nothing.

        Raises:
            Conflict: others kept writing first.
        """
        record = self._change_model(model, change)
        if len(record.decisions) > 2 * BATCH or len(record.stages) > KEPT_STAGES:
            record = self._move_out(record)
        return record

    def restore(self, record: ModelRecord) -> bool:
        """Stores a record that was made anew, unless there is one again."""
        try:
            self._write(_model(record.name), record, None)
        except Conflict:
            return False
        return True

    def cluster(self) -> ClusterRecord:
        """What is remembered of the cluster."""
        return self._read(_CLUSTER, ClusterRecord) or ClusterRecord(updated=self._clock())

    def change_cluster(self, change: Callable[[ClusterRecord], ClusterRecord]) -> ClusterRecord:
        """Changes the cluster's record, as ``change`` does a model's."""
        return self._change(
            _CLUSTER, ClusterRecord, lambda: ClusterRecord(updated=self._clock()),
            lambda record: _stamped(record, change(record), self._clock),
        )  # fmt: skip

    def timeline(self, model: str, version: int) -> tuple[Stage, ...]:
        """The stages of a version, in order."""
        record = self.find(model)
        return () if record is None else self.stages_of(record, version)

    def stages_of(self, record: ModelRecord, version: int) -> tuple[Stage, ...]:
        """The stages of a version: those that moved out of its model's record, and those in it."""
        moved = self._read(_timeline(record.name, version), Timeline) or Timeline()
        return merged(moved.stages, [stage for stage in record.stages if stage.version == version])

    def history(self, record: ModelRecord, *, newest: int) -> tuple[Entry, ...]:
        """The newest decisions about a model, in order."""
        decisions = record.decisions
        first = decisions[0].number if decisions else record.decided + 1
        while len(decisions) < newest and first > 1:
            first -= BATCH
            batch = self._read(_history(record.name, first), History)
            if batch is None:
                break
            decisions = (*batch.decisions, *decisions)
        return decisions[-newest:]

    def decided(self, model: str) -> int:
        """The number of the last decision in the model's stored history, for a record that is made anew."""
        stored = self._documents.listing(f"history/{model}/")
        numbers = [int(blob.name.rpartition("/")[2].removesuffix(".json")) for blob in stored]
        return max(numbers) + BATCH - 1 if numbers else 0

    def forget_timelines(self, model: str) -> None:
        """Removes the stages of a model that is gone."""
        for blob in list(self._documents.listing(f"timelines/{model}/")):
            self._documents.remove(blob.name)

    def figures(self, model: str, since: datetime) -> dict[int, Figures]:
        """What the proxy saw of each of the model's versions since a trial began."""
        return figures_of(self._documents, model, since)

    def forget_keys(self, model: str) -> None:
        """Forgets the model's keys."""
        self._documents.remove(f"keys/{model}.json")

    def forget_figures(self, model: str) -> None:
        """Removes what the proxy noted of a model's earlier trials."""
        forget_figures(self._documents, model)

    def _change_model(self, model: str, change: Callable[[ModelRecord], ModelRecord]) -> ModelRecord:
        return self._change(
            _model(model), ModelRecord, lambda: ModelRecord(name=model, updated=self._clock()),
            lambda record: _stamped(record, change(record), self._clock),
        )  # fmt: skip

    def _move_out(self, record: ModelRecord) -> ModelRecord:
        """Stores the oldest decisions and stages elsewhere, and only then takes them out of the record.

        Safe to repeat: whoever moves decisions moves the same sixteen into the document of the same name.
        """
        batch = record.decisions[:BATCH] if len(record.decisions) > BATCH else ()
        old = record.stages[: len(record.stages) - KEPT_STAGES // 2]
        if batch:
            with suppress(Conflict):  # moved already, by a process that was killed before it said so
                self._write(_history(record.name, batch[0].number), History(decisions=batch), None)
        for version in sorted({stage.version for stage in old if stage.version is not None}):
            self._note(record.name, version, [stage for stage in old if stage.version == version])
        moved = {decision.number for decision in batch}
        return self._change_model(
            record.name,
            lambda before: before.but(
                decisions=tuple(item for item in before.decisions if item.number not in moved),
                stages=tuple(stage for stage in before.stages if stage not in old),
            ),
        )

    def _read(self, path: str, kind: type[D]) -> D | None:
        stored = self._documents.read(path)
        return None if stored is None else _parsed(path, stored.data, kind)

    def _change(self, path: str, kind: type[D], default: Callable[[], D], change: Callable[[D], D]) -> D:
        for _ in range(_ATTEMPTS):
            stored = self._documents.read(path)
            before = _parsed(path, stored.data, kind) if stored else default()
            after = change(before)
            if stored and after == before:
                return before
            try:
                self._write(path, after, stored.etag if stored else None)
            except Conflict:
                continue
            return after
        raise Conflict("busy", f"'{path}' was written by others {_ATTEMPTS} times in a row.", "Try again in a moment.")

    def _note(self, model: str, version: int, stages: Sequence[Stage]) -> None:
        self._change(
            _timeline(model, version), Timeline, Timeline,
            lambda timeline: timeline.but(stages=merged(timeline.stages, stages)),
        )  # fmt: skip

    def _write(self, path: str, document: BaseModel, etag: str | None) -> None:
        metadata: Mapping[str, str] = {}
        if isinstance(document, ModelRecord):
            metadata = metadata_of(document)
        self._documents.write(path, document.model_dump_json(indent=1).encode(), etag=etag, metadata=metadata)


R = TypeVar("R", ModelRecord, ClusterRecord)


def _stamped(before: R, after: R, clock: Clock) -> R:
    return after if after == before else after.but(updated=clock())


def _parsed(path: str, data: bytes, kind: type[D]) -> D:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise SlipwayError(
            "bad_state", f"'{path}' in the state container cannot be read: {error}.",
            "It was written by a newer Slipway or changed by hand; restore it from the blob's earlier version.",
        ) from error  # fmt: skip


def _model(model: str) -> str:
    return f"{_MODELS}{model}.json"


def _named(path: str) -> str:
    return path.removeprefix(_MODELS).removesuffix(".json")


def _history(model: str, first: int) -> str:
    return f"history/{model}/{first:06d}.json"


def _timeline(model: str, version: int) -> str:
    return f"timelines/{model}/{version}.json"
