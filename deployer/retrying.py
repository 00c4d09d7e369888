"""Use case: what was given up is taken up again, by command; and what the platform gives up is written down.

An upload is taken up by the next sweep: a conversion takes longer than an HTTP request may.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus

from deployer.errors import SlipwayError
from deployer.ports import Clock, RolloutQueue
from deployer.record import GONE, ModelRecord, Setback
from deployer.state import State

_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True)
class Retries:
    """``retry`` is the user's, ``rollout_given_up`` the platform's."""

    state: State
    queue: RolloutQueue
    drop: Callable[[str], None]  # a Job that is not wanted any more
    clock: Clock

    def retry(self, model: str, *, by: str) -> ModelRecord:
        """Takes up the model's newest upload, or its rollout, whichever stands still.

        Raises:
            NotFound: there is no such model.
            SlipwayError: ``nothing_to_retry`` (409).
        """
        now = self.clock()
        status = self.state.model(model).upload

        def retried(record: ModelRecord) -> ModelRecord:
            upload = record.upload
            after = record.but(setback=None)
            if upload is not None and upload.version is not None and record.has(upload.version):
                version = record.version(upload.version)
                if version.state == "failed" or (upload.state == "failed" and version.state not in GONE):
                    state = "serving" if version.state == "serving" else "published"
                    after = after.with_version(version.but(state=state, reason=None, hint=None)).but(
                        desired=version.version, asleep=False, rollout=None,
                        upload=upload.but(state="published", stage=None, reason=None, hint=None, at=now),
                    )  # fmt: skip
                    why = version.reason or upload.reason or ""
                    return after.noting(now, by, f"v{version.version} is tried again", why)
            elif upload is not None and (upload.state in ("failed", "given_up", "unfinished") or upload.reason):
                queued = upload.but(
                    state="queued", at=now, attempts=0, due=now, stage=None, reason=None, hint=None, job=None
                )
                return after.but(upload=queued).noting(
                    now, by, f"upload {upload.blob} is tried again", upload.reason or ""
                )
            if not record.settled:
                return after.noting(now, by, "the rollout is tried again")
            return record

        record = self.state.change(model, retried)
        if record.settled and not (record.upload is not None and record.upload.state == "queued"):
            raise SlipwayError(
                "nothing_to_retry", f"Nothing of '{model}' has failed or stands still.",
                f"'slipway status {model}' shows where it stands; upload the model again to convert it anew.",
                status=HTTPStatus.CONFLICT,
            )  # fmt: skip
        if status is not None and status.job is not None and record.upload is not None and record.upload.job is None:
            self.drop(status.job)
        if not record.settled:
            self.queue.ask(model)
        return record

    def rollout_given_up(self, model: str) -> None:
        """The platform gives up on a message: the sweep asks again, after a pause that doubles each time."""
        now = self.clock()

        def noted(record: ModelRecord) -> ModelRecord:
            if record.settled:
                return record
            times = record.setback.times + 1 if record.setback is not None else 1
            doing = record.rollout.message or record.rollout.step if record.rollout is not None else "its first step"
            reason = f"a step of the rollout failed too many times in a row ({doing})"
            pause = min(_FIRST_PAUSE * 2 ** (times - 1), _LONGEST_PAUSE)
            after = record.but(setback=Setback(times=times, reason=reason, until=now + pause))
            return after.noting(now, "the platform", "a rollout's message was given up", reason)

        if self.state.find(model) is not None:
            self.state.change(model, noted)
