"""What was done and decided, in order: stages of a version, decisions about a model. Pure.

Both are noted in the model's record, in the same write as what they tell of, so that none is lost with a killed process.
When a record holds many, the oldest move out: stages to ``timelines/NAME/VERSION.json``, decisions, sixteen at a time, to
documents that are never written again, ``history/NAME/FIRST.json`` (``deployer.state``).
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

BATCH = 16  # decisions in one document of the history
KEPT_STAGES = 40  # in the record

Outcome = Literal["done", "failed", "interrupted"]


class Document(BaseModel):
    """A stored value: frozen, strict, and changed by copying."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def but(self, **changes: Any) -> Self:
        """A copy with these fields changed, validated."""
        return self.model_validate({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


class Stage(Document):
    """One ended stage on the way from a drop to a served model; ``interrupted``: its process was killed meanwhile."""

    stage: str
    started: datetime
    seconds: float
    outcome: Outcome = "done"
    detail: str = ""
    version: int | None = None
    attempt: int = 1

    @property
    def ended(self) -> datetime:
        """When it ended."""
        return self.started + timedelta(seconds=self.seconds)


class Timeline(Document):
    """Stages of one version, in order."""

    stages: tuple[Stage, ...] = ()


class Entry(Document):
    """What was decided about a model, by whom and why; numbered from 1 without a gap."""

    number: int
    at: datetime
    who: str
    what: str
    why: str = ""


class History(Document):
    """Decisions in a row."""

    decisions: tuple[Entry, ...]


def stage_done(
    stage: str,
    started: datetime,
    now: datetime,
    *,
    detail: str = "",
    failed: bool = False,
    version: int | None = None,
    attempt: int = 1,
) -> Stage:
    """A stage that ended now."""
    return Stage(
        stage=stage, started=started, seconds=round((now - started).total_seconds(), 3), detail=detail,
        outcome="failed" if failed else "done", version=version, attempt=attempt,
    )  # fmt: skip


def merged(stages: Sequence[Stage], added: Sequence[Stage]) -> tuple[Stage, ...]:
    """Stages with others appended, each once (a stage is known by its name, its version and its start)."""
    once: dict[tuple[str, int | None, datetime], Stage] = {}
    for stage in (*stages, *added):
        once.setdefault(_key(stage), stage)
    return tuple(once.values())


def _key(stage: Stage) -> tuple[str, int | None, datetime]:
    return stage.stage, stage.version, stage.started
