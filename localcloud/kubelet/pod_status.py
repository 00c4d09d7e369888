"""The status of a pod from what is known of its containers. Pure."""

from collections.abc import Sequence
from datetime import datetime

from localcloud.kubelet.api import Object
from localcloud.kubelet.container_state import ContainerRecord, Terminated, Waiting, restarts, timestamp


def uninitialized(init: Sequence[ContainerRecord]) -> list[str]:
    """The init containers that have not done their work yet: ended well, or, as sidecars, started."""
    return [each.name for each in init if not (_up(each) if each.sidecar else _exit_code(each) == 0)]


def _up(sidecar: ContainerRecord) -> bool:
    return sidecar.started or isinstance(sidecar.state, Terminated)


def _exit_code(record: ContainerRecord) -> int | None:
    return record.state.exit_code if isinstance(record.state, Terminated) else None


def phase(records: Sequence[ContainerRecord], restart_policy: str, init: Sequence[ContainerRecord] = ()) -> str:
    """The pod's phase: Pending until every container has been started once, the init containers before the others."""
    if restart_policy == "Never" and any(_exit_code(each) not in (None, 0) for each in init if not each.sidecar):
        return "Failed"
    if any(isinstance(each.state, Waiting) and each.last is None for each in records):
        return "Pending"
    ended = [each.state for each in records if isinstance(each.state, Terminated)]
    if len(ended) == len(records) and not any(restarts(restart_policy, state.exit_code) for state in ended):
        return "Succeeded" if all(state.exit_code == 0 for state in ended) else "Failed"
    return "Running"


def conditions(
    records: Sequence[ContainerRecord],
    phase_now: str,
    *,
    init: Sequence[ContainerRecord] = (),
    mounted: bool,
    before: Sequence[Object],
    now: datetime,
) -> list[Object]:
    """The pod's conditions; a transition time changes only with the status."""
    incomplete = uninitialized(init)
    sidecars = [each for each in init if each.sidecar]
    unready = [each.name for each in (*sidecars, *records) if not each.ready]
    found = {
        "PodReadyToStartContainers": _condition("True" if mounted else "False"),
        "Initialized": _condition(
            "False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"
        )
        if incomplete
        else _condition("True"),
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
    init: Sequence[ContainerRecord] = (),
    restart_policy: str,
    mounted: bool,
    pod_address: str | None,
    host_address: str,
    started: datetime,
    before: Sequence[Object],
    now: datetime,
) -> Object:
    """A ``PodStatus``; ``before`` are the conditions reported last."""
    phase_now = phase(records, restart_policy, init)
    document: Object = {
        "phase": phase_now,
        "conditions": conditions(records, phase_now, init=init, mounted=mounted, before=before, now=now),
        "hostIP": host_address,
        "hostIPs": [{"ip": host_address}],
        "startTime": timestamp(started),
        "containerStatuses": [each.as_json() for each in records],
    }
    if init:
        document["initContainerStatuses"] = [_of_init(each) for each in init]
    if pod_address is not None:
        document |= {"podIP": pod_address, "podIPs": [{"ip": pod_address}]}
    return document


def _of_init(record: ContainerRecord) -> Object:
    """An init container that has ended well is ready."""
    return record.as_json() | ({"ready": True} if _exit_code(record) == 0 else {})
