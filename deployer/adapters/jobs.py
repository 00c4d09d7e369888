"""What a Job and its pods say of themselves: whether it has ended, how, and what keeps its pod from running. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from deployer.adapters.pods import worst_failure
from deployer.ports import JobState, PodFailure


def job_state(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> JobState:
    """Where the Job stands. Of one that failed, its pod knows better why; but a pod that ran too long is deleted."""
    pods = list(pods)
    for condition in job.get("status", {}).get("conditions") or []:
        match condition:
            case {"type": "Complete", "status": "True"}:
                return JobState("succeeded")
            case {"type": "Failed", "status": "True"}:
                own = PodFailure(condition.get("reason", ""), condition.get("message", ""), fatal=True)
                late = own.reason == "DeadlineExceeded"
                return JobState("failed", own if late else _evicted(pods) or worst_failure(pods) or own)
    failure = worst_failure(pods)
    return JobState("active", None if failure is not None and failure.reason == "NotReady" else failure)


def _evicted(pods: Iterable[Mapping[str, Any]]) -> PodFailure | None:
    for pod in pods:
        status = pod.get("status", {})
        if status.get("phase") == "Failed" and status.get("reason"):
            return PodFailure(status["reason"], status.get("message", ""), fatal=True)
    return None
