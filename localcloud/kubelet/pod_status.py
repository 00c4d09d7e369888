"""The status of a pod from what is known of its containers. Pure."""

from collections.abc import Sequence
from datetime import datetime

from localcloud.kubelet.api import Object
from localcloud.kubelet.container_state import ContainerRecord, Terminated, Waiting, restarts, timestamp


def phase(records: Sequence[ContainerRecord], restart_policy: str) -> str:
    """The pod's phase: Pending until every container has been started once."""
    if any(isinstance(each.state, Waiting) and each.last is None for each in records):
        return "Pending"
    ended = [each.state for each in records if isinstance(each.state, Terminated)]
    if len(ended) == len(records) and not any(restarts(restart_policy, state.exit_code) for state in ended):
        return "Succeeded" if all(state.exit_code == 0 for state in ended) else "Failed"
    return "Running"


def conditions(
    records: Sequence[ContainerRecord], phase_now: str, *, mounted: bool, before: Sequence[Object], now: datetime
) -> list[Object]:
    """The pod's conditions; a transition time changes only with the status."""
    unready = [each.name for each in records if not each.ready]
    found = {
        "PodReadyToStartContainers": _condition("True" if mounted else "False"),
        "Initialized": _condition("True"),
    }
    if phase_now in ("Succeeded", "Failed"):
        reason = "PodCompleted" if phase_now == "Succeeded" else "PodFailed"
        ready = _condition("False", reason)
    elif unready:
        ready = _condition("False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        ready = _condition("True")
    found |= {"Ready": ready, "ContainersReady": ready, "PodScheduled": _condition("True")}
    earlier = {each["type"]: each for each in before}
    return [
        {
            "type": name,
            **condition,
            "lastProbeTime": None,
            "lastTransitionTime": earlier[name]["lastTransitionTime"]
            if name in earlier and earlier[name]["status"] == condition["status"]
            else timestamp(now),
        }
        for name, condition in found.items()
    ]


def _condition(status: str, reason: str | None = None, message: str | None = None) -> Object:
    return {"status": status, "reason": reason, "message": message}


def status(
    records: Sequence[ContainerRecord],
    *,
    restart_policy: str,
    mounted: bool,
    pod_address: str | None,
    host_address: str,
    started: datetime,
    before: Sequence[Object],
    now: datetime,
) -> Object:
    """A ``PodStatus``; ``before`` are the conditions reported last."""
    phase_now = phase(records, restart_policy)
    document: Object = {
        "phase": phase_now,
        "conditions": conditions(records, phase_now, mounted=mounted, before=before, now=now),
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "startTime": timestamp(started),
        "containerStatuses": [each.as_json() for each in records],
    }
    if pod_address is not None:
        document |= {"podIP": pod_address, "podIPs": [{"ip": pod_address}]}
    return document
