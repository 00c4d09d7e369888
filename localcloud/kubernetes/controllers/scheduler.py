"""The scheduler: gives pods a node, or says why there is none."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.placement import place
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.objects import Object, clone, condition, dig, is_terminating, key_of, namespace_of, since
from localcloud.kubernetes.resources import CLAIMS, NODES, PODS
from localcloud.kubernetes.store import Change, Key

_COMPONENT = "default-scheduler"
_ENDED = ("Succeeded", "Failed")


class Scheduler(Controller):
    """Binds pods to nodes."""

    manager = "kube-scheduler"

    def initial(self) -> Iterable[Key]:
        """All pods that wait for a node."""
        return [key_of(pod) for pod in self.store.objects(PODS) if _waits(pod)]

    def concerned(self, change: Change) -> Iterable[Key]:
        """A pod that waits; all that wait, when a node or a claim changes or a pod ends."""
        match change.resource.kind:
            case "Pod":
                if _waits(change.item) and change.kind == "ADDED":
                    return [key_of(change.item)]
                ended = change.kind == "DELETED" or change.item["status"].get("phase") in _ENDED
                return self.initial() if ended else []
            case "Node":
                return self.initial() if change.kind != "DELETED" and _room_changed(change) else []
            case "PersistentVolumeClaim":
                return self.initial()
            case _:
                return []

    def reconcile(self, key: Key) -> float | None:
        """Places one pod."""
        pod = self.store.get(PODS, *key)
        if pod is None or not _waits(pod):
            return None
        nodes = self.store.objects(NODES)
        bound = [
            other
            for other in self.store.objects(PODS)
            if other["spec"].get("nodeName") and other["status"].get("phase") not in _ENDED
        ]
        placement = place(pod, nodes, bound, volume_fault=self._volume_fault(pod))
        if placement.node is None:
            self._refuse(pod, placement.message)
            return None
        changed = clone(pod)
        changed["spec"]["nodeName"] = placement.node
        _set_condition(changed, {"status": "True"})
        self.update(PODS, changed, "binding")
        message = f"Successfully assigned {'/'.join(key)} to {placement.node}"
        record(self.registry, pod, "Normal", "Scheduled", message, _COMPONENT)
        return None

    def _refuse(self, pod: Object, message: str) -> None:
        known = condition(pod, "PodScheduled")
        if known is not None and known.get("message") == message:
            return
        changed = clone(pod)
        seen = {"observedGeneration": pod["metadata"]["generation"]}
        _set_condition(changed, {"status": "False", "reason": "Unschedulable", "message": message, **seen})
        self.update(PODS, changed, "status")
        record(self.registry, pod, "Warning", "FailedScheduling", message, _COMPONENT)

    def _volume_fault(self, pod: Object) -> str:
        for volume in pod["spec"].get("volumes") or []:
            name = dig(volume, "persistentVolumeClaim", "claimName")
            if not name:
                continue
            claim = self.store.get(CLAIMS, namespace_of(pod), name)
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if dig(claim, "status", "phase") != "Bound":
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""


def _waits(pod: Object) -> bool:
    return not pod["spec"].get("nodeName") and not is_terminating(pod) and pod["status"].get("phase") not in _ENDED


def _room_changed(change: Change) -> bool:
    before = change.previous
    if before is None:
        return True
    parts = (("spec",), ("status", "allocatable"), ("metadata", "labels"))
    return any(dig(before, *part) != dig(change.item, *part) for part in parts)


def _set_condition(pod: Object, wanted: Object) -> None:
    status = pod.setdefault("status", {})
    moved = since(pod, "PodScheduled", wanted["status"])
    entry = {"type": "PodScheduled", "lastProbeTime": None, "lastTransitionTime": moved, **wanted}
    status["conditions"] = [c for c in status.get("conditions") or [] if c["type"] != "PodScheduled"] + [entry]
