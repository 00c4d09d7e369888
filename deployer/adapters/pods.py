"""What Deployments and pods say of themselves: whether a rollout is complete, what keeps pods from being ready. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from deployer.ports import SIDECAR, PodFailure

GPU = "nvidia.com/gpu"

_NOT_MADE = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_NO_IMAGE = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_SIDECAR = "prefetch"  # in k8s_templates/version.yaml; a mesh may have put others beside it
_CRASHES = 3  # restarts after which waiting does not help


def number(label: str) -> int | None:
    """The number of a label like ``v3``."""
    digits = label.removeprefix("v")
    return int(digits) if digits.isdigit() else None


def pods_of(pods: Iterable[Mapping[str, Any]], version: str) -> list[Mapping[str, Any]]:
    """Those whose label ``version`` is this one."""
    return [pod for pod in pods if pod["metadata"].get("labels", {}).get("version") == version]


def gpus_of(pod: Mapping[str, Any]) -> int:
    """The GPUs that a pod has claimed of its node."""
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    limits = (container.get("resources", {}).get("limits") or {} for container in pod["spec"]["containers"])
    return sum(int(limit.get(GPU, 0)) for limit in limits)


def rolled_out(deployment: Mapping[str, Any]) -> bool:
    """Whether the newest generation is what runs, whole: ``Available`` may stand without a single ready pod."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    counts = {status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")}
    observed = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return wanted > 0 and observed and counts == {wanted}


def worst_failure(pods: Iterable[Mapping[str, Any]]) -> PodFailure | None:
    """Why they are not ready, where one says so: the reason for which waiting will not help comes first."""
    failures = [failure for pod in pods if (failure := _failure(pod)) is not None]
    return max(failures, key=lambda failure: failure.fatal, default=None)


def _failure(pod: Mapping[str, Any]) -> PodFailure | None:
    """Why this pod is not ready, where its status says so."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
    status = pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return PodFailure(condition.get("reason", "Unschedulable"), condition.get("message", ""), fatal=False)
    for container in status.get("containerStatuses") or []:
        restarts = container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _NO_IMAGE:
            return PodFailure(reason, waiting.get("message", ""), fatal=True)
        if reason == "ErrImagePull":
            return PodFailure(reason, waiting.get("message", ""), fatal=False)
        if reason in _NOT_MADE:
            return PodFailure(reason, waiting.get("message", ""), fatal=False)
        if ended and ended.get("exitCode"):
            message = ended.get("message") or f"exit status {ended['exitCode']}"
            return PodFailure(ended.get("reason") or reason or "Error", message.strip(), fatal=restarts >= _CRASHES)
        if (container.get("state") or {}).get("running") and not container.get("ready"):
            return PodFailure("NotReady", "it runs, and its readiness probe has not passed", fatal=False)
    return _failure_before(status)


def _failure_before(status: Mapping[str, Any]) -> PodFailure | None:
    """What the sidecar that reads the servable ahead says: while it has not been started, nor is the model server."""
    for sidecar in status.get("initContainerStatuses") or []:
        waiting = (sidecar.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", "PodInitializing"), waiting.get("message", "")
        if sidecar["name"] == _SIDECAR and reason != "PodInitializing":
            return PodFailure(SIDECAR, f"{reason}: {message}", fatal=reason in _NO_IMAGE)
    return None
