"""Records under ETag conditions: read, change by a pure function, write; again if somebody else wrote first."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from deployer.errors import Conflict, NotFound, SlipwayError
from deployer.ports import Clock, Documents
from deployer.record import ClusterRecord, ModelRecord, Stage, Timeline, merged

_ATTEMPTS = 20
_CLUSTER = "cluster.json"

D = TypeVar("D", bound=BaseModel)


class State:
    """The typed documents of the state container."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    def models(self) -> Iterator[str]:
        """The names of all models that have a record."""
        for blob in self._documents.listing("models/"):
            yield blob.name.removeprefix("models/").removesuffix(".json")

    def find(self, model: str) -> ModelRecord | None:
        """The model's record, or None."""
        return self._read(_model(model), ModelRecord)

    def model(self, model: str) -> ModelRecord:
        """The model's record.

        Raises:
            NotFound: ``unknown_model``.
        """
        if (record := self.find(model)) is None:
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
        return self._change(
            _model(model), ModelRecord, lambda: ModelRecord(name=model, updated=self._clock()),
            lambda record: _stamped(record, change(record), self._clock),
        )  # fmt: skip

    def remove(self, model: str) -> None:
        """Forgets a model."""
        for blob in list(self._documents.listing(f"timelines/{model}/")):
            self._documents.remove(blob.name)
        self._documents.remove(f"keys/{model}.json")
        self._documents.remove(_model(model))

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
        found = self._read(_timeline(model, version), Timeline)
        return found.stages if found else ()

    def note(self, model: str, version: int, *stages: Stage) -> None:
        """Adds stages to a version's timeline, each once."""
        self._change(
            _timeline(model, version), Timeline, Timeline,
            lambda timeline: timeline.but(stages=merged(timeline.stages, stages)),
        )  # fmt: skip

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
                self._documents.write(
                    path, after.model_dump_json(indent=1).encode(), etag=stored.etag if stored else None
                )
            except Conflict:
                continue
            return after
        raise Conflict("busy", f"'{path}' was written by others {_ATTEMPTS} times in a row.", "Try again in a moment.")


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
    return f"models/{model}.json"


def _timeline(model: str, version: int) -> str:
    return f"timelines/{model}/{version}.json"
