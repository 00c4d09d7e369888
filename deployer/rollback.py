"""Use case: go back to a version by command. It is proven again before any request reaches it, as every version is."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from deployer.errors import NotFound, SlipwayError
from deployer.ports import Clock, RolloutQueue, UploadStore
from deployer.record import GONE, ModelRecord, RolloutStatus
from deployer.state import State
from deployer.tags import tag_upload


@dataclass(frozen=True)
class Rollbacks:
    """``back`` is what users call."""

    state: State
    uploads: UploadStore
    queue: RolloutQueue
    clock: Clock

    def back(self, model: str, to: int | None, *, by: str) -> ModelRecord:
        """Has the version of this number serve again, or the one before; returns the record as it is then.

        A model that sleeps goes on sleeping, and wakes with that version. Nothing but a new upload or another command goes
        forward again. Safe to repeat with a number.

        Raises:
            NotFound: no such model or version.
            SlipwayError: ``not_kept``, ``nothing_before``.
        """
        self.state.model(model)
        now = self.clock()
        record = self.state.change(model, lambda before: gone_back(before, to, now, by=by))
        if not record.settled:
            self.queue.ask(model)
        tag_upload(self.uploads, record)
        return record


def gone_back(record: ModelRecord, to: int | None, now: datetime, *, by: str) -> ModelRecord:
    """The record in which that version is desired; unchanged where it is already.

    Raises:
        NotFound: there is no such version.
        SlipwayError: it cannot be gone back to.
    """
    number = _before(record) if to is None else to
    _must_be_kept(record, number)
    if record.desired == number:
        return record
    left = record.desired
    rollout = RolloutStatus(
        version=number, started=now, step="Apply", since=now, looked=now, message=f"back to v{number}", back=True
    )
    after = record.but(desired=number, rollout=None if record.asleep else rollout, setback=None)
    after = after.with_version(record.version(number).but(state="published", reason=None, hint=None))
    route = record.route.version if record.route is not None else None
    if route == number:  # it serves still: what was on its way is given up
        after = after.with_version(after.version(number).but(state="serving"))
    if left is not None and left != route and record.version(left).state in ("published", "serving"):
        after = after.with_version(record.version(left).but(state="retired", reason=f"left for v{number} by {by}"))
    upload = record.upload
    if upload is not None and upload.version is not None and upload.state in ("published", "serving", "failed"):
        state = "serving" if route == upload.version == number else "published"
        reason = None if upload.version == number else f"v{number} was gone back to by {by}, from v{upload.version}"
        after = after.but(upload=upload.but(state=state, stage=None, reason=reason, hint=None))
    why = "nothing served" if left is None else f"in the place of v{left}"
    return after.noting(now, by, f"go back to v{number}", why)


def _before(record: ModelRecord) -> int:
    """The version that serves, where another is on its way; else the one that served before it."""
    if record.route is not None and record.route.version != record.desired:
        return record.route.version
    if record.previous is None or record.previous == record.desired:
        raise SlipwayError(
            "nothing_before", f"Nothing is known to have served before of '{record.name}'.",
            f"'slipway status {record.name}' shows its versions; name one: slipway rollback {record.name} --to N.",
            status=HTTPStatus.CONFLICT,
        )  # fmt: skip
    return record.previous


def _must_be_kept(record: ModelRecord, number: int) -> None:
    if not record.has(number) or record.removed is not None:
        raise NotFound(
            "unknown_version", f"'{record.name}' has no version {number}.",
            f"'slipway status {record.name}' shows those there are.",
        )  # fmt: skip
    version = record.version(number)
    if version.state in GONE:
        why, cure = (
            "its servable was deleted (keep_versions)",
            "Upload that model file again: it becomes a new version.",
        )
    elif version.state == "publishing":
        why, cure = "it is not published yet", "It serves by itself when it is."
    elif version.state == "held":
        why, cure = version.reason or "it is held back", version.hint or ""
    elif version.bytes == 0 and version.state == "failed":
        why, cure = f"it was never published: {version.reason}", "Choose another."
    else:
        return
    raise SlipwayError(
        "not_kept",
        f"'{record.name}' v{number} cannot be gone back to: {why}.",
        cure,
        status=HTTPStatus.CONFLICT,
    )
