"""Jobs: pods that run to their end, again after a failure, up to the back-off limit."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import ensure_deleted
from localcloud.kubernetes.objects import (
    Object,
    controller_key,
    is_controlled_by,
    is_terminating,
    is_true,
    timestamp,
)
from localcloud.kubernetes.resources import JOBS, PODS
from localcloud.kubernetes.store import Change, Key

_COMPONENT = "job-controller"


class JobController(Controller):
    """Runs Jobs: as many pods at once as ``parallelism``, until ``completions`` have succeeded."""

    watched = JOBS

    def related(self, change: Change) -> Iterable[Key]:
        """The owner of a pod."""
        return controller_key(change.item, "Job") if change.resource is PODS else []

    def reconcile(self, key: Key) -> float | None:
        """Starts pods, counts them, and ends the Job."""
        job = self.store.get(JOBS, *key)
        if job is None or is_terminating(job) or is_true(job, "Complete") or is_true(job, "Failed"):
            return None
        pods = [pod for pod in self.store.objects(PODS, key[0]) if is_controlled_by(pod, job)]
        succeeded = sum(1 for pod in pods if pod["status"].get("phase") == "Succeeded")
        failed = sum(1 for pod in pods if pod["status"].get("phase") == "Failed")
        active = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        spec = job["spec"]
        wanted = min(spec["parallelism"], max(0, spec["completions"] - succeeded))
        over = failed > spec["backoffLimit"]
        if spec.get("suspend") or over:
            wanted = 0
        running = [pod for pod in active if not is_terminating(pod)]
        for pod in running[wanted:]:
            ensure_deleted(self.registry, PODS, pod)
        started = [self.create_pod(job, _COMPONENT) for _ in range(wanted - len(active))]
        terminating = sum(1 for pod in active if is_terminating(pod))
        status: Object = {"startTime": (job.get("status") or {}).get("startTime") or timestamp()}
        numbers = {
            "active": len(running[:wanted]) + len(started), "succeeded": succeeded, "failed": failed,
        }  # fmt: skip
        status |= {name: number for name, number in numbers.items() if number}
        status["terminating"] = terminating
        status["ready"] = sum(1 for pod in running if is_true(pod, "Ready"))
        status["uncountedTerminatedPods"] = {}
        if succeeded >= spec["completions"]:
            self._end(job, status, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif over and not running:
            message = "Job has reached the specified backoff limit"
            self._end(job, status, "Failed", "BackoffLimitExceeded", message)
        self.update_status(JOBS, job, status)
        return None

    def _end(self, job: Object, status: Object, kind: str, reason: str, message: str) -> None:
        moment = timestamp()
        status["conditions"] = [
            {"type": kind, "status": "True", "reason": reason, "message": message, "lastProbeTime": moment,
             "lastTransitionTime": moment}
        ]  # fmt: skip
        if kind == "Complete":
            status["completionTime"] = moment
        severity = "Normal" if kind == "Complete" else "Warning"
        told = ("Completed", "Job completed") if kind == "Complete" else (reason, message)
        record(self.registry, job, severity, *told, _COMPONENT)
