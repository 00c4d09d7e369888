"""How far a wake is, and how long the rest of it takes. Pure.

    queued → (teardown) → (restart-gap) → (cluster) → (gpu-pool → gpu-node) → pods → proof

``queued``: until a rollout looks; ``teardown``: an operation that takes compute away comes to its end; ``restart-gap``: AKS wants
it between a stop and a start; ``cluster``: its start; ``gpu-pool``: nodes are ordered and made; ``gpu-node``: they join and offer
their GPUs; ``pods``: scheduled, image pulled, model loaded; ``proof``: the golden request, and the switch. The times are the
medians of this cluster's own wakes from the same rung, else from any, else the first guesses of the settings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from deployer.record import ClusterRecord, Operation, Reached, WakeTime
from deployer.steps import (
    Apply,
    AwaitCanary,
    AwaitCluster,
    AwaitPods,
    AwaitRestart,
    Prove,
    Step,
    Switch,
    Try,
    WakeCluster,
)

_ORDER = ("queued", "teardown", "restart-gap", "cluster", "gpu-pool", "gpu-node", "pods", "proof")
_PATHS: Mapping[str, tuple[str, ...]] = {
    "pods": ("pods", "proof"),
    "pool": ("gpu-pool", "gpu-node", "pods", "proof"),
    "stopped": ("cluster", "gpu-pool", "gpu-node", "pods", "proof"),
}
_ON_GPU = ("gpu-pool", "gpu-node")
_BEFORE = ("queued", "teardown", "restart-gap")
# How the first guess at a rung is shared by the stages that it has and the rung above has not.
_SHARES: Mapping[str, tuple[str, str | None, float]] = {
    "cluster": ("stopped", "pool", 1.0), "gpu-pool": ("pool", "pods", 0.8), "gpu-node": ("pool", "pods", 0.2),
    "pods": ("pods", None, 0.95), "proof": ("pods", None, 0.05),
}  # fmt: skip
_MOST = 24  # stages noted of one rollout: fallback pools may be tried in turn for long


@dataclass(frozen=True)
class StageTime:
    """One stage: the seconds it has taken so far, None before it has begun; and those it is expected to take, if known."""

    stage: str
    seconds: float | None
    expected: float | None


@dataclass(frozen=True)
class Progress:
    """A wake: the rung it came from, the stage it is at, seconds that remain, and its stages in order."""

    rung: str
    stage: str
    left: float
    stages: tuple[StageTime, ...]

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rung": self.rung, "stage": self.stage, "eta_seconds": max(1, round(self.left)),
            "stages": [
                {"stage": item.stage, "seconds": _rounded(item.seconds), "expected_seconds": _rounded(item.expected)}
                for item in self.stages
            ],
        }  # fmt: skip


def stage_of(step: Step) -> str | None:
    """The stage of a wake that a rollout's step belongs to; None for what may come at any stage."""
    match step:
        case AwaitRestart():
            return "restart-gap"
        case WakeCluster(start=start):
            return "cluster" if start else "gpu-pool"
        case AwaitCluster(stage=stage):
            return stage
        case Apply() | AwaitPods():
            return "pods"
        case Prove() | Switch() | Try() | AwaitCanary():
            return "proof"
        case _:
            return None


def reached(before: tuple[Reached, ...], step: Step, now: datetime) -> tuple[Reached, ...]:
    """The stages that a rollout has come to, with this step's."""
    stage = stage_of(step)
    if stage is None or (before and before[-1].stage == stage) or len(before) >= _MOST:
        return before
    return (*before, Reached(stage=stage, at=now))


def spent(found: Sequence[Reached], begun: datetime, now: datetime) -> dict[str, float]:
    """Seconds that each stage has taken since the wake begun; before the first it was queued."""
    seconds: dict[str, float] = {}
    moments = [Reached(stage="queued", at=begun), *found]
    for item, end in zip(moments, [*(item.at for item in moments[1:]), now], strict=True):
        taken = (end - max(item.at, begun)) / timedelta(seconds=1)
        seconds[item.stage] = seconds.get(item.stage, 0.0) + max(0.0, taken)
    return seconds


def expected(
    stage: str, rung: str, wake_times: Iterable[WakeTime], guesses: Mapping[str, float], *, longer_than: float = -1.0
) -> float | None:
    """Seconds that a stage takes, of those seen that took longer than so many; None where none did.

    Args:
        stage: of a wake.
        rung: that the wake came from.
        wake_times: of this cluster.
        guesses: seconds by rung, of whole wakes.
        longer_than: how long it has taken already.
    """
    times = list(wake_times)
    seen = [(item.rung, seconds) for item in times if (seconds := _took(item, stage)) is not None]
    values = [seconds for from_rung, seconds in seen if from_rung == rung] or [seconds for _, seconds in seen]
    if not seen and (guess := _guess(stage, rung, times, guesses)) is not None:
        values = [guess]
    longer = sorted(value for value in values if value > longer_than)
    return longer[len(longer) // 2] if longer else None


def path(rung: str, *, on_gpu: bool) -> tuple[str, ...]:
    """The stages that a wake from this rung goes through for certain."""
    found = _PATHS.get(rung, _PATHS["stopped"])
    return found if on_gpu else tuple(stage for stage in found if stage not in _ON_GPU)


def stage_seconds(rung: str, wake_times: Sequence[WakeTime], guesses: Mapping[str, float]) -> dict[str, float]:
    """What each stage of a wake on GPUs from this rung is expected to take, in order."""
    return {
        stage: round(seconds, 1)
        for stage in path(rung, on_gpu=True)
        if (seconds := expected(stage, rung, wake_times, guesses)) is not None
    }


def progress(
    found: Sequence[Reached], begun: datetime, rung: str, cluster: ClusterRecord, guesses: Mapping[str, float],
    now: datetime, *, on_gpu: bool, restart_gap: timedelta,
) -> Progress:  # fmt: skip
    """How far a wake is that begun then, from this rung, and whose rollout has come to these stages."""
    seconds, times, whole = spent(found, begun, now), cluster.wake_times, path(rung, on_gpu=on_gpu)
    current = found[-1].stage if found else "queued"
    joined = _brings_up(cluster.operation)
    if cluster.operation is not None and joined in whole and current in ("queued", joined):
        current = joined  # which another model may have begun long before
        seconds[current] = max(seconds.get(current, 0.0), (now - cluster.operation.started).total_seconds())
    coming = [stage for stage in whole if _ORDER.index(stage) > _ORDER.index(current)]
    usual = expected(current, rung, times, guesses, longer_than=seconds[current])
    left = usual - seconds[current] if usual is not None else 0.0
    if cluster.rung == "stopped" and cluster.slept is not None and current in _BEFORE:
        left = max(left, (cluster.slept + restart_gap - now).total_seconds())
    left += sum(expected(stage, rung, times, guesses) or 0.0 for stage in coming)
    shown = [stage for stage in _ORDER if stage in seconds or stage in coming]
    return Progress(
        rung, current, left,
        tuple(StageTime(stage, seconds.get(stage), expected(stage, rung, times, guesses)) for stage in shown),
    )  # fmt: skip


def _took(wake: WakeTime, stage: str) -> float | None:
    """What a stage took in a wake that went through it, be it too fast to be seen; None where it did not."""
    through = wake.stages and (stage in ("pods", "proof") or (stage == "gpu-node" and "gpu-pool" in wake.stages))
    return wake.stages.get(stage, 0.0 if through else None)


def _brings_up(operation: Operation | None) -> str:
    """The stage that is the operation under way's; empty where it brings nothing up."""
    if operation is None or operation.kind in ("stop", "delete"):
        return ""
    if operation.kind == "start":
        return "cluster"
    return "gpu-pool" if operation.target else ""


def _guess(stage: str, rung: str, times: Sequence[WakeTime], guesses: Mapping[str, float]) -> float | None:
    """The first guess, stretched to what whole wakes from the rung took, where no stages were noted of them."""
    if stage not in _SHARES:
        return 0.0 if stage == "queued" else None
    own, above, share = _SHARES[stage]
    first = max(0.0, guesses[own] - (guesses[above] if above else 0.0)) * share
    whole = sorted(item.seconds for item in times if item.rung == rung)
    return first * whole[len(whole) // 2] / guesses[rung] if whole and guesses.get(rung) else first


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
