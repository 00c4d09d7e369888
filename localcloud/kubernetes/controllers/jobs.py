"""Jobs: pods that run to their end, again after a failure, up to the back-off limit or the deadline; then gone after a while."""

from collections.abc import Iterable
from datetime import UTC, datetime

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import ensure_deleted
from localcloud.kubernetes.objects import (
    Object,
    controller_key,
    is_controlled_by,
    is_terminating,
    is_true,
    parse_time,
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
        """Starts pods, counts them, ends the Job, and deletes it when its time to live is over."""
        job = self.store.get(JOBS, *key)
        if job is None or is_terminating(job):
            return None
        if is_true(job, "Complete") or is_true(job, "Failed"):
            return self._outlive(job)
        pods = [pod for pod in self.store.objects(PODS, key[0]) if is_controlled_by(pod, job)]
        succeeded = sum(1 for pod in pods if pod["status"].get("phase") == "Succeeded")
        failed = sum(1 for pod in pods if pod["status"].get("phase") == "Failed")
        active = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        spec = job["spec"]
        wanted = min(spec["parallelism"], max(0, spec["completions"] - succeeded))
        started_at = (job.get("status") or {}).get("startTime") or timestamp()
        left = _left(started_at, spec.get("activeDeadlineSeconds"))
        late = left is not None and left <= 0
        over = late or failed > spec["backoffLimit"]
        if spec.get("suspend") or over:
            wanted = 0
        running = [pod for pod in active if not is_terminating(pod)]
        for pod in running[wanted:]:
            ensure_deleted(self.registry, PODS, pod)
        started = [self.create_pod(job, _COMPONENT) for _ in range(wanted - len(active))]
        terminating = sum(1 for pod in active if is_terminating(pod))
        status: Object = {"startTime": started_at}
        numbers = {
            "active": len(running[:wanted]) + len(started), "succeeded": succeeded, "failed": failed,
        }  # fmt: skip
        status |= {name: number for name, number in numbers.items() if number}
        status["terminating"] = terminating
        status["ready"] = sum(1 for pod in running if is_true(pod, "Ready"))
        status["uncountedTerminatedPods"] = {}
        if succeeded >= spec["completions"]:
            self._end(job, status, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        elif late and not active:
            self._end(job, status, "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        elif over and not late and not running:
            message = "Job has reached the specified backoff limit"
            self._end(job, status, "Failed", "BackoffLimitExceeded", message)
        self.update_status(JOBS, job, status)
        return left if left is not None and left > 0 else None

    def _outlive(self, job: Object) -> float | None:
        """Deletes a Job that has ended for longer than it is to be kept; the seconds until then."""
        (ended, *_) = [item for item in job["status"]["conditions"] if item["type"] in ("Complete", "Failed")]
        left = _left(ended["lastTransitionTime"], job["spec"].get("ttlSecondsAfterFinished"))
        if left is None or left > 0:
            return left
        ensure_deleted(self.registry, JOBS, job, policy="Background")
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


def _left(since: str, seconds: int | None) -> float | None:
    """The seconds of a time that are left; None: it never ends."""
    return None if seconds is None else seconds - (datetime.now(UTC) - parse_time(since)).total_seconds()
