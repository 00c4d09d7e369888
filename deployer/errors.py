"""What Slipway says when something cannot be done.

    SlipwayError                  code, message, hint, HTTP status
    ├── BadRequest                the caller sent what cannot be used (400, or as given)
    ├── NotFound                  no such model, version or path (404)
    ├── Unauthorized              the key is missing or wrong (401)
    ├── UploadRefused             what was dropped will never become a model as it is: recorded, not retried
    ├── TryLater                  not now; may say when to come back (503, or as given)
    │   └── Waking                the model sleeps and is being woken (503)
    ├── Unavailable               a part did not answer, or not in time; may heal (503)
    │   ├── ClusterUnreachable    the Kubernetes API did not answer
    │   └── CloudRefused          Azure or Kubernetes refused or failed an operation
    │       └── AzureRefused      Azure Resource Manager did; says when to ask again, if Azure did
    │           └── ClusterDeleted  there is none: the idle ladder deleted it
    └── Conflict                  somebody else wrote first: read again and decide again (409)
        └── LeaseLost             another instance may be at the same work by now: stop

An SDK's error is chained as the cause. ``code`` is stable and documented in docs/reference/errors.md.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any


class SlipwayError(Exception):
    """Something that a user or operator reads: what happened (``message``) and what to do next (``hint``)."""

    status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, code: str, message: str, hint: str = "", *, status: HTTPStatus | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        if status is not None:
            self.status = status

    def body(self) -> dict[str, Any]:
        """The error as every HTTP answer shows it."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class BadRequest(SlipwayError):
    """The caller sent what cannot be used."""

    status = HTTPStatus.BAD_REQUEST


class NotFound(SlipwayError):
    """There is no such model, version or path."""

    status = HTTPStatus.NOT_FOUND


class Unauthorized(SlipwayError):
    """The key is missing or wrong."""

    status = HTTPStatus.UNAUTHORIZED


class UploadRefused(SlipwayError):
    """What was dropped will never become a model as it is; ``stage`` tells how far it came."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, code: str, message: str, hint: str, *, stage: str) -> None:
        super().__init__(code, message, hint)
        self.stage = stage


class Unavailable(SlipwayError):
    """A part did not answer, or not in time; trying again may help."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class ClusterUnreachable(Unavailable):
    """The Kubernetes API did not answer."""


class CloudRefused(Unavailable):
    """Azure or Kubernetes refused an operation, or it failed."""


class AzureRefused(CloudRefused):
    """Azure Resource Manager refused, failed, or was not reached; ``retry_after`` in seconds, if it named a time."""

    def __init__(self, code: str, message: str, hint: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(code, message, hint)
        self.retry_after = retry_after

    @property
    def in_line(self) -> str:
        """All of it in one line, as records and timelines keep it."""
        return f"{self.code}: {self.message}. {self.hint}".replace("..", ".")


class ClusterDeleted(AzureRefused):
    """The idle ladder deleted the cluster, and there is none again."""

    def __init__(self) -> None:
        super().__init__(
            "cluster_deleted", "The idle ladder deleted the cluster, as it was told to; models and servables are all there.",
            "Create the cluster and its GPU pool anew under the same names; models then wake as they are asked for. "
            "SLIPWAY_IDLE__DELETE_AFTER_DAYS without a value keeps it.",
        )  # fmt: skip


class TryLater(SlipwayError):
    """Not now. ``retry_after``: seconds after which asking again makes sense, where that is known."""

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(
        self, code: str, message: str, hint: str, *, retry_after: int | None, status: HTTPStatus | None = None
    ) -> None:
        super().__init__(code, message, hint, status=status)
        self.retry_after = retry_after


class Waking(TryLater):
    """The model sleeps and is being woken; ``eta_seconds`` says when to come back.

    ``stages``: what each has taken so far and is expected to take, as ``deployer.wake_stages`` shows them.
    """

    def __init__(self, message: str, *, eta_seconds: int, stage: str, stages: Sequence[Mapping[str, Any]] = ()) -> None:
        hint = "Ask again after Retry-After, or send 'Prefer: wait=SECONDS' to be held."
        super().__init__("waking", message, hint, retry_after=eta_seconds)
        self.eta_seconds = eta_seconds
        self.stage = stage
        self.stages = tuple(stages)

    def body(self) -> dict[str, Any]:
        """The error shape, with the estimate and the stage that the wake has reached."""
        body = super().body()
        body["error"] |= {"eta_seconds": self.eta_seconds, "stage": self.stage}
        if self.stages:
            body["error"]["stages"] = list(self.stages)
        return body


class Conflict(SlipwayError):
    """Somebody else wrote first."""

    status = HTTPStatus.CONFLICT


class LeaseLost(Conflict):
    """Another instance may be at the same work by now; whoever reads this stops."""
