"""Use case: push a model and, if asked, follow it until it serves or is refused."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from deployer.cli.api import Api
from deployer.cli.drop import Drop, DropFile
from deployer.cli.errors import Failed, NotInTime, Unreachable
from deployer.cli.follow import (
    Asleep,
    Before,
    GoneBack,
    Refused,
    Removed,
    Serving,
    Superseded,
    Under,
    before_push,
    fate_of,
    new_stages,
    noticed,
)

_LOOK_SECONDS = 0.5
_LOST_LOOKS = 10  # answers that may fail in a row before following is given up: an app restarts now and then


class PushProgress(Protocol):
    """Is told what a push is doing."""

    def sent(self, file: DropFile, count: int) -> None:
        """So many bytes of this file have been sent."""

    def doing(self, what: str) -> None:
        """What is being done now."""

    def stage(self, stage: Mapping[str, Any]) -> None:
        """A stage has ended."""


class Container(Protocol):
    """Where models are dropped."""

    def send(self, drop: Drop, progress: Callable[[DropFile, int], None]) -> str:
        """Sends the files and returns the ETag of the last."""


def push(
    drop: Drop, container: Container, api: Api | None, progress: PushProgress, *, timeout_seconds: float
) -> dict[str, Any]:
    """Sends the files; with an ``api``, follows the upload to its end. Returns what ``--json`` prints.

    Raises:
        Failed: the model was refused, or meanwhile another upload took its place, or it was gone back from or removed.
        NotInTime: it was still under way after ``timeout_seconds``.
        Unreachable: storage or the app does not answer.
    """
    before = before_push(api.find_model(drop.model)) if api is not None else Before()
    etag = container.send(drop, progress.sent)
    answer: dict[str, Any] = {"model": drop.model, "blob": drop.last.blob, "etag": etag}
    if api is None:
        return answer
    return answer | _follow(drop.model, etag, before, api, progress, timeout_seconds=timeout_seconds)


def _follow(
    name: str, etag: str, before: Before, api: Api, progress: PushProgress, *, timeout_seconds: float
) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_seconds
    shown: set[tuple[str, str]] = set()
    lost, seen = 0, False
    while True:
        try:
            model = api.find_model(name)
            lost = 0
        except Unreachable:
            lost += 1
            if lost > _LOST_LOOKS or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_SECONDS)
            continue
        stages = list(new_stages(model, before))
        for ended in stages:
            if (key := (ended["stage"], ended["started"])) not in shown:
                shown.add(key)
                progress.stage(ended)
        fate = fate_of(model, etag, before, noticed=seen)
        seen = seen or noticed(model, etag)
        match fate:
            case Serving(version, known):
                return {"state": "serving", "version": version, "known": known, "stages": stages}
            case Asleep(version):
                return {"state": "asleep", "version": version, "known": False, "stages": stages}
            case Under(doing):
                if time.monotonic() > deadline:
                    raise NotInTime(
                        "not_in_time", f"'{name}' was not serving after {timeout_seconds:.0f} s: {doing}.",
                        f"It goes on; 'slipway status {name}' shows how far it is. --timeout waits longer.",
                        model=name, doing=doing,
                    )  # fmt: skip
                progress.doing(doing)
            case ended_otherwise:
                raise _failed(name, ended_otherwise)
        time.sleep(_LOOK_SECONDS)


def _failed(name: str, fate: Refused | Superseded | GoneBack | Removed) -> Failed:
    see = f"'slipway status {name}' shows what has become of it."
    match fate:
        case Refused(stage, reason, hint, serving):
            goes_on = f" v{serving} goes on serving." if serving is not None else ""
            told = reason if stage == "schema" else f"failed at {stage}: {reason}"  # v2 is held back, for …
            return Failed(
                "model_refused", f"'{name}' {told.rstrip('.')}.{goes_on}", hint,
                model=name, stage=stage, reason=reason, serving=serving,
            )  # fmt: skip
        case Superseded(blob):
            return Failed("superseded", f"Another upload of '{name}' ({blob}) came after this one.", see, model=name)
        case GoneBack(version, to):
            return Failed(
                "gone_back", f"Somebody commanded v{to} of '{name}' meanwhile; v{version}, made of this upload, does not serve.",
                f"{see} 'slipway rollback {name} --to {version}' has it serve after all.",
                model=name, version=version, desired=to,
            )  # fmt: skip
        case Removed():
            return Failed(
                "removed", f"'{name}' was removed meanwhile, and this upload with it.",
                "Push it again if it is to serve after all.", model=name,
            )  # fmt: skip
