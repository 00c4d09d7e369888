"""What a Deployment does next, and what its status says. Pure; ``deployments`` performs it.

The arithmetic is Kubernetes' own: at no time more than ``replicas + maxSurge`` pods are asked for, and never so few that
less than ``replicas - maxUnavailable`` are available.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from localcloud.kubernetes.objects import Object, parse_time, timestamp


@dataclass(frozen=True)
class Wanted:
    """What a Deployment asks for; surge and unavailability as numbers of pods."""

    replicas: int
    max_surge: int
    max_unavailable: int
    recreate: bool

    @staticmethod
    def of(spec: Object) -> "Wanted":
        """Reads a Deployment's specification: percentages round up for surge, down for unavailability."""
        replicas = spec.get("replicas", 1)
        strategy = spec.get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return Wanted(replicas, 0, 0, recreate=True)
        rolling = strategy.get("rollingUpdate") or {}
        surge = math.ceil(_resolve(rolling.get("maxSurge", "25%"), replicas))
        unavailable = math.floor(_resolve(rolling.get("maxUnavailable", "25%"), replicas))
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return Wanted(replicas, surge, min(unavailable, replicas), recreate=False)


def _resolve(amount: int | str, replicas: int) -> float:
    return amount if isinstance(amount, int) else int(amount.rstrip("%")) * replicas / 100


@dataclass(frozen=True)
class Replicas:
    """One revision of a Deployment: what its ReplicaSet is told, and what it has."""

    name: str
    wanted: int
    available: int
    desired_before: int
    """The Deployment's replicas when this ReplicaSet was last scaled; another number is a scaling of the Deployment."""
    pods: int = 0
    """How many it has that are not terminating: more than wanted until its own controller has taken them away."""
    lingering: bool = False
    """Whether pods of it still exist in any state, the terminating ones included."""


def plan(wanted: Wanted, new: Replicas | None, old: Sequence[Replicas], *, paused: bool = False) -> dict[str, int]:
    """Returns the sizes that ReplicaSets should get now, by name; ``""`` is the new one where it does not exist yet.

    ``old`` is ordered by age, oldest first. An empty answer means: wait, or done.
    """
    scaled = _scaling(wanted, new, old)
    if scaled or paused:
        return scaled
    return _recreate(wanted, new, old) if wanted.recreate else _roll(wanted, new, old)


def _scaling(wanted: Wanted, new: Replicas | None, old: Sequence[Replicas]) -> dict[str, int]:
    """The Deployment's replicas changed: every active revision gets its share."""
    everyone = [*old, *([new] if new else [])]
    active = [revision for revision in everyone if revision.wanted > 0]
    if all(revision.desired_before == wanted.replicas for revision in active):
        return {}
    if len(active) <= 1:
        target = active[0] if active else new
        return {target.name: wanted.replicas} if target is not None and target.wanted != wanted.replicas else {}
    if wanted.recreate:
        return {}
    allowed = wanted.replicas + wanted.max_surge if wanted.replicas else 0
    total = sum(revision.wanted for revision in active)
    left = allowed - total
    sizes: dict[str, int] = {}
    for revision in sorted(active, key=lambda r: -r.wanted):
        share = round(revision.wanted * allowed / total) - revision.wanted
        share = min(share, left) if left > 0 else max(share, left)
        sizes[revision.name] = max(0, revision.wanted + share)
        left -= share
    first = max(active, key=lambda r: r.wanted).name
    sizes[first] = max(0, sizes[first] + left)
    return {name: size for name, size in sizes.items() if size != next(r.wanted for r in active if r.name == name)}


def _recreate(wanted: Wanted, new: Replicas | None, old: Sequence[Replicas]) -> dict[str, int]:
    down = {revision.name: 0 for revision in old if revision.wanted > 0}
    if down:
        return down
    if any(revision.lingering for revision in old):
        return {}
    if new is None or new.wanted != wanted.replicas:
        return {new.name if new else "": wanted.replicas}
    return {}


def _roll(wanted: Wanted, new: Replicas | None, old: Sequence[Replicas]) -> dict[str, int]:
    size = new.wanted if new else 0
    total = size + sum(revision.wanted for revision in old)
    if new is not None and size > wanted.replicas:
        return {new.name: wanted.replicas}
    present = sum(max(revision.wanted, revision.pods) for revision in [*old, *([new] if new else [])])
    room = wanted.replicas + wanted.max_surge - present
    grown = min(size + max(0, room), wanted.replicas)
    if new is None or grown != size:
        return {new.name if new else "": grown}
    return _shrink_old(wanted, new, old, total)


def _shrink_old(wanted: Wanted, new: Replicas, old: Sequence[Replicas], total: int) -> dict[str, int]:
    least = wanted.replicas - wanted.max_unavailable
    budget = total - least - (new.wanted - new.available)
    sizes = {revision.name: revision.wanted for revision in old}
    if budget <= 0:
        return {}
    for revision in old:  # first those that serve nobody
        dead = min(max(0, revision.wanted - revision.available), budget)
        sizes[revision.name] -= dead
        budget -= dead
    spare = new.available + sum(revision.available for revision in old) - least
    for revision in old:
        fewer = min(sizes[revision.name], max(0, spare), budget)
        sizes[revision.name] -= fewer
        spare -= fewer
        budget -= fewer
    return {revision.name: sizes[revision.name] for revision in old if sizes[revision.name] != revision.wanted}


@dataclass(frozen=True)
class Counts:
    """Pods of a Deployment, as its status counts them."""

    asked: int
    replicas: int
    updated: int
    ready: int
    available: int
    terminating: int


def next_status(deployment: Object, counts: Counts, new_name: str | None, now: datetime) -> Object:
    """Returns the status of a Deployment whose ReplicaSets have ``counts``; ``new_name`` is the current one's."""
    before: Object = deployment.get("status") or {}
    wanted = Wanted.of(deployment["spec"])
    status: Object = {"observedGeneration": deployment["metadata"]["generation"]}
    numbers = {
        "replicas": counts.replicas, "updatedReplicas": counts.updated, "readyReplicas": counts.ready,
        "availableReplicas": counts.available, "unavailableReplicas": max(0, counts.asked - counts.available),
    }  # fmt: skip
    status |= {name: number for name, number in numbers.items() if number}
    status["terminatingReplicas"] = counts.terminating
    conditions = [dict(entry) for entry in before.get("conditions") or []]
    if counts.available >= wanted.replicas - wanted.max_unavailable:
        message = "Deployment has minimum availability."
        conditions = with_condition(conditions, "Available", "True", "MinimumReplicasAvailable", message, now)
    else:
        message = "Deployment does not have minimum availability."
        conditions = with_condition(conditions, "Available", "False", "MinimumReplicasUnavailable", message, now)
    if not deployment["spec"].get("paused"):
        conditions = _progress(deployment, before, counts, conditions, new_name, now)
    status["conditions"] = conditions
    return status


def _progress(
    deployment: Object, before: Object, counts: Counts, conditions: list[Object], new_name: str | None, now: datetime
) -> list[Object]:
    current = next((entry for entry in conditions if entry["type"] == "Progressing"), None)
    reason = current["reason"] if current else ""
    if counts.replicas == counts.updated and reason == "NewReplicaSetAvailable":
        return conditions
    subject = f'ReplicaSet "{new_name}"' if new_name else f'Deployment "{deployment["metadata"]["name"]}"'
    replicas = deployment["spec"].get("replicas", 1)
    if counts.updated == counts.replicas == counts.available == replicas:
        message = f"{subject} has successfully progressed."
        return with_condition(conditions, "Progressing", "True", "NewReplicaSetAvailable", message, now)
    if _has_progressed(before, counts):
        message = f"{subject} is progressing."
        return with_condition(conditions, "Progressing", "True", "ReplicaSetUpdated", message, now, renewed=True)
    waiting = current is not None and reason not in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded")
    if waiting and seconds_to_deadline(deployment, current or {}, now) <= 0:
        message = f"{subject} has timed out progressing."
        return with_condition(conditions, "Progressing", "False", "ProgressDeadlineExceeded", message, now)
    return conditions


def _has_progressed(before: Object, counts: Counts) -> bool:
    updated, replicas = before.get("updatedReplicas", 0), before.get("replicas", 0)
    return bool(
        counts.updated > updated
        or counts.replicas - counts.updated < replicas - updated
        or counts.ready > before.get("readyReplicas", 0)
        or counts.available > before.get("availableReplicas", 0)
    )


def seconds_to_deadline(deployment: Object, progressing: Object, now: datetime) -> float:
    """Returns how long a rollout may still go without progress."""
    limit: float = deployment["spec"].get("progressDeadlineSeconds", 600)
    return limit - (now - parse_time(progressing["lastUpdateTime"])).total_seconds()


def with_condition(
    conditions: list[Object], kind: str, status: str, reason: str, message: str, now: datetime, *, renewed: bool = False
) -> list[Object]:
    """Returns ``conditions`` with one set; its times move only if its status or reason does, or it is ``renewed``."""
    current = next((entry for entry in conditions if entry["type"] == kind), None)
    if current and not renewed and (current["status"], current["reason"]) == (status, reason):
        return conditions
    moved = timestamp(now)
    kept = current["lastTransitionTime"] if current and current["status"] == status else moved
    entry = {
        "type": kind, "status": status, "lastUpdateTime": moved, "lastTransitionTime": kept, "reason": reason,
        "message": message,
    }  # fmt: skip
    return [*(other for other in conditions if other["type"] != kind), entry]
