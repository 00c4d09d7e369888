"""What is remembered of a model and of the cluster, and the pure changes to it.

The documents live in the state container as ``models/NAME.json`` and ``cluster.json``; a model's record holds its newest
decisions and stages, older ones move on (``deployer.timeline``). Each document is read and written whole, under an ETag condition
(``deployer.state``); nothing here does so.
"""

from collections.abc import Mapping, Set
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import Field

from deployer.options import ServeOptions
from deployer.ports import OperationKind
from deployer.timeline import Document, Entry, Stage, merged

UploadState = Literal[
    "receiving",  # not all of it is there yet
    "unfinished",  # nor was it after a while
    "queued",  # to be taken by the next sweep
    "scanning", "converting", "publishing", "published", "serving",
    "failed",  # for good: it is no model, or its version does not come up
    "held",  # its version is not what clients know, and nobody has accepted that
    "given_up",  # what should heal did not, after so many attempts
    "deleted",  # its blobs are gone, and the model was retired for it
    "removed",  # the model was removed by command
]  # fmt: skip
AT_WORK: frozenset[UploadState] = frozenset({"scanning", "converting", "publishing"})
ENDED: frozenset[UploadState] = frozenset({
    "published", "serving", "failed", "held", "given_up", "deleted", "removed",
})  # fmt: skip
OrderKind = Literal["sleep", "wake", "hold"]
VersionState = Literal[
    "publishing", "published", "serving", "retired", "failed",
    "held",  # published, and not to serve before its owner accepts what it changes for clients
    "deleting", "deleted",  # its servable goes, or is gone
]  # fmt: skip
GONE: frozenset[VersionState] = frozenset({"deleting", "deleted"})


class UploadStatus(Document):
    """The newest upload of a model and how far it came. ``fingerprint`` identifies the blobs it was made of."""

    blob: str
    etag: str
    fingerprint: str
    state: UploadState
    at: datetime
    stage: str | None = None
    version: int | None = None
    reason: str | None = None
    hint: str | None = None
    stages: tuple[Stage, ...] = ()
    attempts: int = 0  # begun so far; a killed one counts
    due: datetime | None = None  # when the sweep takes it up again
    job: str | None = None  # the Kubernetes Job that this attempt was handed over to, until it has ended


class VersionRecord(Document):
    """One version of a model. ``identity`` is the digest of its content and of the options that shaped its export."""

    version: int
    identity: str
    state: VersionState
    created: datetime
    serve: ServeOptions = ServeOptions()
    bytes: int = 0
    source: dict[str, Any] = Field(default_factory=dict)
    signatures: dict[str, Any] = Field(default_factory=dict)
    labels: int | None = None
    parity: float | None = None
    reason: str | None = None
    hint: str | None = None
    schema_change: tuple[str, ...] = ()  # for which it is held back; lines of exporter.SchemaDiff


class Canary(Document):
    """A proven version beside the one that serves; ``share`` is the percentage of requests that it gets."""

    version: int
    address: str
    share: float = Field(ge=0, le=100)


class Route(Document):
    """Where requests go: the version and the address of its Service, ``http://HOST:PORT``; and its canary, if there is one."""

    version: int
    address: str
    canary: Canary | None = None


class Bridge(Document):
    """The replica on CPU that answers while none on GPUs does; without an address it is not proven yet, or leaving."""

    version: int
    address: str | None = None


class Reached(Document):
    """When a rollout came to a stage of a wake; ``deployer.wake_stages`` names them."""

    stage: str
    at: datetime


class RolloutStatus(Document):
    """A rollout under way: the step it is at, since when, and what was said of it last."""

    version: int
    started: datetime
    step: str
    since: datetime
    looked: datetime  # roughly: written anew every half minute, so that a rollout whose message was lost is noticed
    message: str = ""
    proven: bool = False
    unanswered: int = 0  # golden requests that got no answer
    trial: datetime | None = None  # when it got its share of requests as a canary
    back: bool = False  # a version that is gone back to: it is not tried as a canary
    chain: str | None = None  # of the looks at it, each asking for the next; those of any other chain are superfluous
    reached: tuple[Reached, ...] = ()  # the stages of a wake that it came to, in order


class Removal(Document):
    """The model was removed by command; ``uploads``: what lay in the drop container goes as well, ``dropped``: blobs and ETags.

    ``emptied``: its files are gone, and what was dropped since may be taken; ``done``: its objects are, too.
    """

    at: datetime
    uploads: bool
    dropped: dict[str, str] = Field(default_factory=dict)
    emptied: bool = False
    done: bool = False


class Setback(Document):
    """The platform gave up on a rollout's messages, so many times in a row; the sweep asks again after ``until``."""

    times: int
    reason: str
    until: datetime


class ModelRecord(Document):
    """Everything decided about one model. ``desired`` is the version that should serve, ``route`` the one that does.

    A record is never deleted: ``next_version`` outlives the model, so that no path is ever used again.
    """

    name: str
    updated: datetime
    upload: UploadStatus | None = None
    versions: tuple[VersionRecord, ...] = ()
    next_version: int = 1
    desired: int | None = None
    previous: int | None = None  # the version that served before the route's, or before sleep
    route: Route | None = None
    rollout: RolloutStatus | None = None
    bridge: Bridge | None = None
    asleep: bool = False
    served: datetime | None = None  # when requests were last sent to another version
    changed_rung: datetime | None = None  # when it fell asleep or was last woken
    removed: Removal | None = None
    setback: Setback | None = None
    taken: dict[str, str] = Field(default_factory=dict)  # ETags of the blobs that the last complete upload was made of
    decisions: tuple[Entry, ...] = ()  # the newest; older ones are in history/NAME/
    decided: int = 0  # number of the newest decision
    stages: tuple[Stage, ...] = ()  # the newest of all versions; older ones are in timelines/NAME/

    def noting(self, at: datetime, who: str, what: str, why: str = "") -> Self:
        """The record with a decision noted in it, in the same write as what was decided."""
        number = self.decided + 1
        decision = Entry(number=number, at=at, who=who, what=what, why=why)
        return self.but(decisions=(*self.decisions, decision), decided=number)

    def with_stages(self, *ended: Stage) -> Self:
        """The record with stages of its versions noted in it, each once."""
        return self.but(stages=merged(self.stages, ended)) if ended else self

    def version(self, number: int) -> VersionRecord:
        """The version of that number.

        Raises:
            KeyError: there is none.
        """
        for candidate in self.versions:
            if candidate.version == number:
                return candidate
        raise KeyError(f"{self.name} has no version {number}")

    def has(self, number: int) -> bool:
        """Whether there is a version of that number."""
        return any(candidate.version == number for candidate in self.versions)

    def by_identity(self, identity: str) -> VersionRecord | None:
        """The version made of this content, whatever became of it, while its servable is there."""
        found = (item for item in self.versions if item.identity == identity and item.state not in GONE)
        return next(found, None)

    def with_version(self, version: VersionRecord) -> Self:
        """The record with this version added, or put in the place of the one with its number."""
        others = tuple(candidate for candidate in self.versions if candidate.version != version.version)
        return self.but(versions=tuple(sorted((*others, version), key=lambda item: item.version)))

    def fallback(self, number: int) -> int | None:
        """The version to go back to from this one: the one that serves, or served before sleep, or before that."""
        if self.route is not None and self.route.version != number:
            return self.route.version
        candidates = [item.version for item in self.versions if item.state == "serving" and item.version != number]
        if candidates:
            return candidates[-1]
        return self.previous if self.previous != number else None

    def waited(self, steps: Set[str], now: datetime) -> timedelta:
        """How long the rollout of what is desired has been at one of these steps without a break."""
        status = self.rollout
        if status is None or status.version != self.desired or status.step not in steps:
            return timedelta(0)
        return now - status.since

    @property
    def arriving(self) -> bool:
        """Whether its newest upload is on the way to a version."""
        return self.upload is not None and self.upload.state in AT_WORK

    @property
    def settled(self) -> bool:
        """Whether nothing remains to be done: what is desired serves, sleeps, or nothing is desired."""
        if self.rollout is not None:
            return False
        return self.asleep or self.desired is None or (self.route is not None and self.route.version == self.desired)


class Operation(Document):
    """A long Azure operation under way; ``token`` resumes it in any process."""

    kind: OperationKind
    started: datetime
    token: str
    target: int | None = None
    by: str = ""
    pool: str | None = None  # that is given nodes
    slept: datetime | None = None  # of a start: when the cluster had gone to where it is brought up from


class Wake(Document):
    """One model's wake under way, for the estimate that callers are given.

    ``joined``: others had brought the rung up part of the way, so that its time says nothing of a whole wake's.
    """

    started: datetime
    rung: str
    by: str
    joined: bool = False


class WakeTime(Document):
    """How long one wake took from a rung until its model answered; ``stages``: seconds of each of its stages."""

    rung: str
    seconds: float
    model: str = ""
    stages: dict[str, float] = Field(default_factory=dict)


class Order(Document):
    """What somebody commanded by hand; it outranks the policy until it expires."""

    kind: OrderKind
    until: datetime
    by: str
    at: datetime


class Cause(Document):
    """Who changed last what runs, and why."""

    by: str
    why: str
    at: datetime


class ClusterRecord(Document):
    """What is remembered of the cluster between invocations."""

    updated: datetime
    operation: Operation | None = None
    wakes: dict[str, Wake] = Field(default_factory=dict)  # by model
    wake_times: tuple[WakeTime, ...] = ()
    rung: Literal["pool", "stopped", "deleted"] | None = (
        None  # how far down the ladder the cluster is; None: its GPU pool is up
    )
    slept: datetime | None = None  # when it went there
    woke: datetime | None = None  # when a wake of it was last begun
    unneeded: datetime | None = None  # since when the GPU pool has been seen up without a model awake that takes a GPU
    looked: datetime | None = None  # when the ladder was last looked at
    order: Order | None = None
    cause: Cause | None = None
    failure: str | None = None  # of the last operation
    failed: datetime | None = None  # when that was seen
    again: datetime | None = None  # when what failed may be begun again, where that is known
    refused: tuple[str, ...] = ()  # GPU pools that got no nodes in this wake, for lack of quota or capacity
    exports: dict[str, datetime] = Field(
        default_factory=dict
    )  # conversions on it, by Job: when they have ended at the latest

    @property
    def wake(self) -> Wake | None:
        """The wake under way that was begun first."""
        return min(self.wakes.values(), key=lambda wake: wake.started, default=None)

    def exporting(self, now: datetime) -> dict[str, datetime]:
        """The conversions on it that have not ended, as far as is known."""
        return {job: until for job, until in self.exports.items() if until > now}

    def without_export(self, job: str) -> "ClusterRecord":
        """The record in which this Job needs the cluster no more."""
        if job not in self.exports:
            return self
        return self.but(exports={name: until for name, until in self.exports.items() if name != job})

    @property
    def leaving(self) -> Literal["pool", "cluster"] | None:
        """What the operation under way takes away."""
        if self.operation is None:
            return None
        match self.operation.kind:
            case "stop" | "delete":
                return "cluster"
            case "pool" if self.operation.target == 0:
                return "pool"
            case _:
                return None


KEPT_WAKE_TIMES = 50
_LONGEST_WAKE = timedelta(hours=3)  # a rollout is given up long before


_RUNGS = ("pods", "pool", "stopped")


def wake_begun(record: ClusterRecord, model: str, by: str, now: datetime, *, on_gpu: bool = True) -> ClusterRecord:
    """The record after a model was woken: from the rung the cluster is on, or with what is being brought up already.

    The GPU pool is nothing to a model that is not ``on_gpu``.
    """
    if model in record.wakes:
        return record
    rungs = [wake.rung for wake in record.wakes.values() if on_gpu or wake.rung != "pool"]
    rung = record.rung if record.rung and (on_gpu or record.rung != "pool") else "pods"
    deepest = max(rungs, key=_deep, default="pods")
    joined = record.rung is None and _deep(deepest) > 0
    wake = Wake(started=now, rung=deepest if joined else rung, by=by, joined=joined)
    return record.but(wakes={**record.wakes, model: wake})


def wake_deepened(record: ClusterRecord, model: str, rung: str, now: datetime) -> ClusterRecord:
    """The record after a model's rollout had to bring this rung up: its wake, as callers feel it, is one from there."""
    wake = record.wakes.get(model) or Wake(started=now, rung=rung, by=model)
    return record.but(wakes={**record.wakes, model: wake.but(rung=max(wake.rung, rung, key=_deep))})


def wake_ended(
    record: ClusterRecord, model: str, now: datetime, *, serves: bool = True, stages: Mapping[str, float] | None = None
) -> ClusterRecord:
    """The record after a model's wake has come to its end: it ``serves``, or was given up. ``stages``: what each took."""
    wake = record.wakes.get(model)
    if wake is None:
        return record
    seconds = (now - wake.started).total_seconds()
    record = record.but(wakes={name: other for name, other in record.wakes.items() if name != model})
    if not serves or wake.joined or not 0 <= seconds <= _LONGEST_WAKE.total_seconds():  # nor does a clock that jumped
        return record
    taken = WakeTime(rung=wake.rung, seconds=seconds, model=model, stages=dict(stages or {}))
    return record.but(updated=now, wake_times=(*record.wake_times, taken)[-KEPT_WAKE_TIMES:])


def _deep(rung: str) -> int:
    return _RUNGS.index(rung) if rung in _RUNGS else len(_RUNGS)
