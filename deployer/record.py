"""What is remembered of a model, of the cluster and of a version's timeline; and the pure changes to it.

The documents live in the state container as ``models/NAME.json``, ``cluster.json`` and ``timelines/NAME/VERSION.json``.
Each is read and written whole, under an ETag condition (``deployer.state``); nothing here does so.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from deployer.options import ServeOptions

UploadState = Literal[
    "receiving", "scanning", "converting", "publishing", "published", "serving", "failed", "superseded"
]
VersionState = Literal["publishing", "published", "serving", "retired", "failed"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def but(self, **changes: Any) -> Self:
        """A copy with these fields changed, validated."""
        return self.model_validate({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


class Stage(_Document):
    """One finished stage on the way from a drop to a served model."""

    stage: str
    started: datetime
    seconds: float
    outcome: Literal["done", "failed"] = "done"
    detail: str = ""
    version: int | None = None


class Timeline(_Document):
    """All stages of one version, in order."""

    stages: tuple[Stage, ...] = ()


class UploadStatus(_Document):
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


class VersionRecord(_Document):
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


class Canary(_Document):
    """A proven version beside the one that serves; ``share`` is the percentage of requests that it gets."""

    version: int
    address: str
    share: float = Field(ge=0, le=100)


class Route(_Document):
    """Where requests go: the version and the address of its Service, ``http://HOST:PORT``; and its canary, if there is one."""

    version: int
    address: str
    canary: Canary | None = None


class RolloutStatus(_Document):
    """A rollout under way: the step it is at, since when, and what was said of it last."""

    version: int
    started: datetime
    step: str
    since: datetime
    looked: datetime  # roughly: written anew every half minute, so that a rollout whose message was lost is noticed
    message: str = ""
    proven: bool = False
    unanswered: int = 0  # golden requests that got no answer


class ModelRecord(_Document):
    """Everything decided about one model. ``desired`` is the version that should serve, ``route`` the one that does."""

    name: str
    updated: datetime
    upload: UploadStatus | None = None
    versions: tuple[VersionRecord, ...] = ()
    next_version: int = 1
    desired: int | None = None
    previous: int | None = None  # the version that served before the route's, or before sleep
    route: Route | None = None
    rollout: RolloutStatus | None = None
    asleep: bool = False
    served: datetime | None = None  # when requests were last sent to another version
    changed_rung: datetime | None = None  # when it fell asleep or was last woken

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
        """The version made of this content, whatever became of it."""
        return next((candidate for candidate in self.versions if candidate.identity == identity), None)

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

    @property
    def arriving(self) -> bool:
        """Whether its newest upload is on the way to a version."""
        return self.upload is not None and self.upload.state in ("scanning", "converting", "publishing")

    @property
    def settled(self) -> bool:
        """Whether nothing remains to be done: what is desired serves, sleeps, or nothing is desired."""
        if self.rollout is not None:
            return False
        return self.asleep or self.desired is None or (self.route is not None and self.route.version == self.desired)


class Operation(_Document):
    """A long Azure operation under way; ``token`` resumes it in any process."""

    kind: Literal["start", "stop", "pool"]
    started: datetime
    token: str
    target: int | None = None
    by: str = ""


class Wake(_Document):
    """A wake under way, for the estimate that callers are given."""

    started: datetime
    rung: str
    by: str


class WakeTime(_Document):
    """How long one wake took from a rung until a model answered."""

    rung: str
    seconds: float


class ClusterRecord(_Document):
    """What is remembered of the cluster between invocations."""

    updated: datetime
    operation: Operation | None = None
    wake: Wake | None = None
    wake_times: tuple[WakeTime, ...] = ()
    rung: Literal["pool", "stopped"] | None = None  # how far down the ladder the cluster is; None: its GPU pool is up
    slept: datetime | None = None  # when it went there
    held_until: datetime | None = None  # nothing is taken down before
    failure: str | None = None  # of the last operation
    failed: datetime | None = None  # when that was seen

    def estimate(self, rung: str, guesses: Mapping[str, float]) -> float:
        """Seconds that a wake from this rung takes: the median of those seen, else the first guess."""
        seen = sorted(time.seconds for time in self.wake_times if time.rung == rung)
        return seen[len(seen) // 2] if seen else guesses[rung]


KEPT_WAKE_TIMES = 50


def noted_wake(record: ClusterRecord, now: datetime) -> ClusterRecord:
    """The record after the wake under way has come to its end."""
    if record.wake is None:
        return record
    taken = WakeTime(rung=record.wake.rung, seconds=(now - record.wake.started).total_seconds())
    return record.but(updated=now, wake=None, wake_times=(*record.wake_times, taken)[-KEPT_WAKE_TIMES:])


def stage_done(
    stage: str, started: datetime, now: datetime, *, detail: str = "", failed: bool = False, version: int | None = None
) -> Stage:
    """A stage that ended now."""
    return Stage(
        stage=stage, started=started, seconds=round((now - started).total_seconds(), 3),
        outcome="failed" if failed else "done", detail=detail, version=version,
    )  # fmt: skip


def merged(stages: Sequence[Stage], added: Sequence[Stage]) -> tuple[Stage, ...]:
    """Stages with others appended, each once (a stage is known by its name and start)."""
    known = {(stage.stage, stage.started) for stage in stages}
    return (*stages, *(stage for stage in added if (stage.stage, stage.started) not in known))
