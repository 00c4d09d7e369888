"""PodDisruptionBudgets: how many pods may be taken away just now."""

import math
from collections.abc import Iterable

from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.objects import (
    Object,
    controller_of,
    dig,
    is_terminating,
    is_true,
    key_of,
    labels_of,
    namespace_of,
    since,
)
from localcloud.kubernetes.resources import BUDGETS, PODS, resource_of
from localcloud.kubernetes.selectors import match_labels
from localcloud.kubernetes.store import Change, Key


class BudgetController(Controller):
    """Counts the healthy pods of each budget."""

    watched = BUDGETS

    def related(self, change: Change) -> Iterable[Key]:
        """Those that select a pod."""
        if change.resource is not PODS:
            return []
        candidates = self.store.objects(BUDGETS, namespace_of(change.item))
        return [key_of(i) for i in candidates if match_labels(i["spec"].get("selector"), labels_of(change.item))]

    def reconcile(self, key: Key) -> float | None:
        """Writes the status of one budget."""
        budget = self.store.get(BUDGETS, *key)
        if budget is None:
            return None
        selector = budget["spec"].get("selector")
        pods = [pod for pod in self.store.objects(PODS, key[0]) if match_labels(selector, labels_of(pod))]
        healthy = sum(1 for pod in pods if is_true(pod, "Ready") and not is_terminating(pod))
        expected, desired = self._wanted(budget["spec"], pods)
        allowed = max(0, healthy - desired) if expected else 0
        status = {
            "observedGeneration": budget["metadata"]["generation"], "disruptionsAllowed": allowed,
            "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected,
            "conditions": [_condition(budget, allowed > 0)],
        }  # fmt: skip
        self.update_status(BUDGETS, budget, status)
        return None

    def _wanted(self, spec: Object, pods: list[Object]) -> tuple[int, int]:
        """Returns (pods expected, healthy pods needed)."""
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if isinstance(least, int):
            return len(pods), least
        expected = self._asked_for(pods)
        if least is not None:
            return expected, _share(least, expected)
        unavailable = most if isinstance(most, int) else _share(most or "0%", expected)
        return expected, max(0, expected - unavailable)

    def _asked_for(self, pods: list[Object]) -> int:
        """The replicas of the pods' controllers."""
        owners: dict[str, int] = {}
        for pod in pods:
            reference = controller_of(pod)
            resource = resource_of(reference) if reference else None
            owner = self.store.get(resource, namespace_of(pod), reference["name"]) if resource and reference else None
            uid = reference["uid"] if reference else pod["metadata"]["uid"]
            owners[uid] = (dig(owner, "spec", "replicas") or 0) if owner else 1
        return sum(owners.values())


def _share(percentage: str, total: int) -> int:
    return math.ceil(int(percentage.rstrip("%")) * total / 100)


def _condition(budget: Object, allowed: bool) -> Object:
    status = "True" if allowed else "False"
    return {
        "type": "DisruptionAllowed", "status": status, "observedGeneration": budget["metadata"]["generation"],
        "lastTransitionTime": since(budget, "DisruptionAllowed", status), "message": "",
        "reason": "SufficientPods" if allowed else "InsufficientPods",
    }  # fmt: skip
