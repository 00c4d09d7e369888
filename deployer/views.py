"""What the HTTP API shows of models and of the cluster. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from deployer.economy import RUNGS, Economy
from deployer.forecast import Coming, Situation
from deployer.glance import Glance, glance_of
from deployer.idle import Decision, DeleteCluster, EmptyPool, SleepModels, Stay, StopCluster, WakeModels, Withheld
from deployer.ports import ClusterState
from deployer.record import ClusterRecord, ModelRecord
from deployer.timeline import Entry, Stage
from deployer.wake_stages import stage_seconds


def summary(glance: Glance) -> dict[str, Any]:
    """A model in the list of models."""
    return {
        "name": glance.name, "state": glance.state,
        "version": glance.route if glance.route is not None else glance.desired if glance.asleep else None,
        "desired": glance.desired, "asleep": glance.asleep, "reason": glance.reason, "hint": glance.hint,
        "updated": glance.updated.isoformat(),
    }  # fmt: skip


def model_view(record: ModelRecord, timeline: Sequence[Stage], history: Sequence[Entry] = ()) -> dict[str, Any]:
    """All of a model: its newest upload, the rollout under way, its versions, their stages, and what was decided."""
    upload, rollout = record.upload, record.rollout
    stages = [*timeline]
    if upload is not None and upload.version is None:
        stages.extend(upload.stages)
    return summary(glance_of(record)) | {
        "classify_url": f"/api/classify/{record.name}",
        "upload": None if upload is None else upload.model_dump(mode="json", exclude={"fingerprint", "stages"}),
        "rollout": None
        if rollout is None
        else {
            "version": rollout.version, "step": rollout.step, "message": rollout.message,
            "since": rollout.since.isoformat(),
        },
        "canary": None if record.route is None or record.route.canary is None
        else record.route.canary.model_dump(mode="json", include={"version", "share"}),
        "versions": [
            item.model_dump(mode="json", include={
                "version", "state", "created", "bytes", "source", "labels", "signatures", "parity", "reason", "hint",
                "schema_change",
            })
            for item in record.versions
        ],
        "timeline": [stage.model_dump(mode="json") | {"ended": stage.ended.isoformat()} for stage in stages],
        "history": [decision.model_dump(mode="json") for decision in history],
    }  # fmt: skip


def cluster_view(
    state: ClusterState, record: ClusterRecord, decision: Decision, *, pool: str, all_asleep: bool, now: datetime
) -> dict[str, Any]:
    """The cluster: how far down the idle ladder it is, and what the ladder does next."""
    operation = record.operation
    wanted = operation.target if operation is not None and operation.target is not None else state.pool_count
    return {
        "state": _rung(state, record, all_asleep=all_asleep),
        "power": state.power,
        "provisioning": state.provisioning,
        "pool": None
        if state.pool_count is None
        else {"name": state.pool or pool, "count": state.pool_count, "wanted": wanted},
        "idle": _idle(decision, now),
        "order": _order(record, now),
        "failure": record.failure,
        "updated": record.updated.isoformat(),
    }


def _rung(state: ClusterState, record: ClusterRecord, *, all_asleep: bool) -> str:
    if record.wakes:
        return "waking"
    if state.power == "Stopped":
        return "stopped"
    if state.pool_count == 0:
        return "pool"
    return "pods" if all_asleep else "awake"


def _idle(decision: Decision, now: datetime) -> dict[str, Any]:
    match decision:
        case Stay(reason, due):
            left = None if due is None else max(0.0, round((due - now).total_seconds(), 1))
            return {"rung": None, "reason": reason, "due_in_seconds": left}
        case SleepModels(models, reason):
            return {"rung": "pods", "reason": f"{', '.join(models)}: {reason}", "due_in_seconds": 0}
        case EmptyPool(reason):
            return {"rung": "pool", "reason": reason, "due_in_seconds": 0}
        case StopCluster(reason):
            return {"rung": "stopped", "reason": reason, "due_in_seconds": 0}
        case DeleteCluster(reason):
            return {"rung": "deleted", "reason": reason, "due_in_seconds": 0}
        case WakeModels(models, reason):
            return {"rung": "awake", "reason": f"{', '.join(models)}: {reason}", "due_in_seconds": 0}
        case Withheld(_, reason):
            return {"rung": None, "reason": reason, "due_in_seconds": None}


def plan_view(
    situation: Situation, coming: Sequence[Coming], economy: Economy, guesses: Mapping[str, float], now: datetime
) -> dict[str, Any]:
    """What the idle ladder would do, when and why; and each rung's money and delay, whole and by stage."""
    times = situation.record.wake_times
    return {
        "now": now.isoformat(),
        "order": _order(situation.record, now),
        "steps": [{"at": item.at.isoformat(), **_step(item.decision)} for item in coming],
        "rungs": [
            {
                "rung": figures.rung, "saves_per_hour": figures.saves_per_hour, "currency": economy.currency,
                "wake_seconds_p50": figures.wake_p50.total_seconds(), "wake_seconds_p90": figures.wake_p90.total_seconds(),
                "wakes_seen": figures.wakes_seen, "pays_after_seconds": economy.break_even(figures.rung).total_seconds(),
                "wake_stages": stage_seconds(figures.rung, times, guesses),
            }
            for figures in map(economy.figures, RUNGS)
        ],
    }  # fmt: skip


def _order(record: ClusterRecord, now: datetime) -> dict[str, Any] | None:
    order = record.order
    return None if order is None or order.until <= now else order.model_dump(mode="json")


def _step(decision: Decision) -> dict[str, Any]:
    match decision:
        case Withheld(inner, reason):
            return {**_step(inner), "withheld": reason}
        case Stay(reason):
            return {"does": "stay", "models": [], "why": reason, "withheld": None}
        case SleepModels(models, reason):
            return {"does": "pods", "models": list(models), "why": reason, "withheld": None}
        case WakeModels(models, reason):
            return {"does": "awake", "models": list(models), "why": reason, "withheld": None}
        case EmptyPool(reason):
            return {"does": "pool", "models": [], "why": reason, "withheld": None}
        case StopCluster(reason):
            return {"does": "stopped", "models": [], "why": reason, "withheld": None}
        case DeleteCluster(reason):
            return {"does": "deleted", "models": [], "why": reason, "withheld": None}
