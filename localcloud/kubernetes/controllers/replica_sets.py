"""ReplicaSets: as many pods as they say."""

from collections.abc import Iterable
from datetime import UTC, datetime

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import ensure_deleted
from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.objects import (
    Object,
    condition,
    controller_key,
    controller_of,
    is_terminating,
    is_true,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    parse_time,
    since,
)
from localcloud.kubernetes.resources import PODS, REPLICA_SETS
from localcloud.kubernetes.selectors import match_labels
from localcloud.kubernetes.store import Change, Key

_COMPONENT = "replicaset-controller"
_ENDED = ("Succeeded", "Failed")


class ReplicaSetController(Controller):
    """Creates and deletes pods."""

    watched = REPLICA_SETS

    def related(self, change: Change) -> Iterable[Key]:
        """The owner of a pod, or what would adopt it."""
        if change.resource is not PODS:
            return []
        if controller_of(change.item) is not None:
            return controller_key(change.item, "ReplicaSet")
        sets = self.store.objects(REPLICA_SETS, namespace_of(change.item))
        return [key_of(item) for item in sets if match_labels(item["spec"]["selector"], labels_of(change.item))]

    def reconcile(self, key: Key) -> float | None:
        """Creates the pods that are missing, or deletes those that are too many."""
        item = self.store.get(REPLICA_SETS, *key)
        if item is None:
            return None
        pods = self._pods(item)
        failure: ApiError | None = None
        if not is_terminating(item):
            active = [pod for pod in pods if _is_active(pod)]
            missing = item["spec"].get("replicas", 0) - len(active)
            try:
                for _ in range(missing):
                    self.create_pod(item, _COMPONENT)
            except ApiError as error:
                failure = error
                record(self.registry, item, "Warning", "FailedCreate", f"Error creating: {error}", _COMPONENT)
            for pod in sorted(active, key=_worth)[: max(0, -missing)]:
                ensure_deleted(self.registry, PODS, pod)
                record(
                    self.registry, item, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}", _COMPONENT
                )  # fmt: skip
        delay = self._write_status(self.registry.get(REPLICA_SETS, *key), failure)
        if failure is not None:
            raise failure
        return delay

    def _pods(self, item: Object) -> list[Object]:
        return self.owned(PODS, item, _is_active)

    def _write_status(self, item: Object, failure: ApiError | None) -> float | None:
        pods = self._pods(item)
        active = [pod for pod in pods if _is_active(pod)]
        ready = [pod for pod in active if is_true(pod, "Ready")]
        waits = [_seconds_to_available(pod, item["spec"].get("minReadySeconds", 0)) for pod in ready]
        labels = item["spec"]["template"]["metadata"].get("labels") or {}
        status: Object = {"replicas": len(active)}
        numbers = {
            "fullyLabeledReplicas": sum(1 for pod in active if labels.items() <= labels_of(pod).items()),
            "readyReplicas": len(ready),
            "availableReplicas": sum(1 for wait in waits if wait <= 0),
        }
        status |= {name: number for name, number in numbers.items() if number}
        status["terminatingReplicas"] = sum(1 for pod in pods if is_terminating(pod) and not _has_ended(pod))
        status["observedGeneration"] = item["metadata"]["generation"]
        if failure is not None:
            status["conditions"] = [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": str(failure),
                 "lastTransitionTime": since(item, "ReplicaFailure", "True")}
            ]  # fmt: skip
        self.update_status(REPLICA_SETS, item, status)
        return min((wait for wait in waits if wait > 0), default=None)


def _has_ended(pod: Object) -> bool:
    return pod["status"].get("phase") in _ENDED


def _is_active(pod: Object) -> bool:
    return not is_terminating(pod) and not _has_ended(pod)


def _seconds_to_available(pod: Object, min_ready: int) -> float:
    entry = condition(pod, "Ready")
    if not min_ready or entry is None or not entry.get("lastTransitionTime"):
        return 0.0
    return min_ready - (datetime.now(UTC) - parse_time(entry["lastTransitionTime"])).total_seconds()


def _worth(pod: Object) -> tuple[bool, bool, bool, str]:
    """Orders pods by what is lost with them: first those that are nowhere, not running, not ready, young."""
    age = "".join(chr(0x10FFFF - ord(letter)) for letter in pod["metadata"]["creationTimestamp"])
    return bool(pod["spec"].get("nodeName")), pod["status"].get("phase") == "Running", is_true(pod, "Ready"), age
