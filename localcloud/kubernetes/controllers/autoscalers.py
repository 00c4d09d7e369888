"""HorizontalPodAutoscalers: without a metrics server they cannot scale, and say so as on a real cluster."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.objects import Object, dig, key_of, name_of, namespace_of, since
from localcloud.kubernetes.resources import AUTOSCALERS, resource_of
from localcloud.kubernetes.store import Change, Key


class AutoscalerController(Controller):
    """Reports on autoscalers; it changes no replicas."""

    watched = AUTOSCALERS

    def related(self, change: Change) -> Iterable[Key]:
        """Those whose target changed."""
        if not change.resource.scalable:
            return []
        candidates = self.store.objects(AUTOSCALERS, namespace_of(change.item))
        return [key_of(i) for i in candidates if i["spec"]["scaleTargetRef"]["name"] == name_of(change.item)]

    def reconcile(self, key: Key) -> float | None:
        """Writes the conditions of one autoscaler."""
        item = self.store.get(AUTOSCALERS, *key)
        if item is None:
            return None
        reference = item["spec"]["scaleTargetRef"]
        resource = resource_of(reference)
        target = self.store.get(resource, key[0], reference["name"]) if resource else None
        status: Object = {"desiredReplicas": 0, "currentMetrics": None, "conditions": _conditions(item, target)}
        current = dig(target, "status", "replicas") or 0
        if current:
            status["currentReplicas"] = current
        self.update_status(AUTOSCALERS, item, status)
        return None


def _conditions(item: Object, target: Object | None) -> list[Object]:
    if target is None:
        name = item["spec"]["scaleTargetRef"]["name"]
        why = f"the HPA controller was unable to get the target's current scale: {name} not found"
        return [_condition(item, "AbleToScale", "False", "FailedGetScale", why)]
    able = "the HPA controller was able to get the target's current scale"
    found = [_condition(item, "AbleToScale", "True", "SucceededGetScale", able)]
    if not dig(target, "spec", "replicas"):
        why = "scaling is disabled since the replica count of the target is zero"
        return [*found, _condition(item, "ScalingActive", "False", "ScalingDisabled", why)]
    why = "the HPA was unable to compute the replica count: this cluster has no metrics server"
    return [*found, _condition(item, "ScalingActive", "False", "FailedGetResourceMetric", why)]


def _condition(item: Object, kind: str, status: str, reason: str, message: str) -> Object:
    moved = since(item, kind, status)
    return {"type": kind, "status": status, "lastTransitionTime": moved, "reason": reason, "message": message}
