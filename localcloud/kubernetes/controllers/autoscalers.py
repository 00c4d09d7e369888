"""HorizontalPodAutoscalers: they keep replicas within their bounds, and without a metrics server do no more and say so."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.objects import Object, dig, key_of, name_of, namespace_of, since
from localcloud.kubernetes.resources import AUTOSCALERS, Resource, resource_of
from localcloud.kubernetes.store import Change, Key


class AutoscalerController(Controller):
    """Brings a target that is not at 0 within the bounds of its autoscaler, and reports."""

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
        if resource is not None and target is not None:
            self._bound(item, resource, target)
        status: Object = {"desiredReplicas": 0, "currentMetrics": None, "conditions": _conditions(item, target)}
        current = dig(target, "status", "replicas") or 0
        if current:
            status["currentReplicas"] = current
        self.update_status(AUTOSCALERS, item, status)
        return None

    def _bound(self, item: Object, resource: Resource, target: Object) -> None:
        wanted, low, high = (
            dig(target, "spec", "replicas") or 0,
            item["spec"]["minReplicas"],
            item["spec"]["maxReplicas"],
        )
        if wanted and not low <= wanted <= high:
            size = min(max(wanted, low), high)
            side = "below Spec.MinReplicas" if wanted < low else "above Spec.MaxReplicas"
            self.update(resource, {**target, "spec": {**target["spec"], "replicas": size}}, "scale")
            why = f"New size: {size}; reason: Current number of replicas {side}"
            record(self.registry, item, "Normal", "SuccessfulRescale", why, "horizontal-pod-autoscaler")


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
