"""Endpoints and EndpointSlices: the addresses of the pods behind each Service."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import ensure_deleted
from localcloud.kubernetes.objects import (
    Object,
    clone,
    condition,
    is_controlled_by,
    is_terminating,
    is_true,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
)
from localcloud.kubernetes.registry import Registry, controller_write
from localcloud.kubernetes.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from localcloud.kubernetes.selectors import match_labels
from localcloud.kubernetes.store import Change, Key

_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"
_SERVICE_NAME = "kubernetes.io/service-name"


class EndpointsController(Controller):
    """Keeps one EndpointSlice and one Endpoints object for each Service that has a selector."""

    watched = SERVICES

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry)
        self._ready_since: dict[tuple[Key, str], str] = {}

    def related(self, change: Change) -> Iterable[Key]:
        """The Services that select a pod before or after its change."""
        if change.resource is not PODS:
            return []
        labels = [labels_of(change.item), *([labels_of(change.previous)] if change.previous else [])]
        return [
            key_of(service)
            for service in self.store.objects(SERVICES, namespace_of(change.item))
            if any(_selects(service, found) for found in labels)
        ]

    def reconcile(self, key: Key) -> float | None:
        """Writes the endpoints of one Service."""
        service = self.store.get(SERVICES, *key)
        if service is None:
            left = self.store.get(ENDPOINTS, *key)
            if left is not None and "endpoints.kubernetes.io/managed-by" in labels_of(left):
                ensure_deleted(self.registry, ENDPOINTS, left)
            self._ready_since = {known: since for known, since in self._ready_since.items() if known[0] != key}
            return None
        if not service["spec"].get("selector") or is_terminating(service):
            return None
        pods = [
            pod
            for pod in self.store.objects(PODS, key[0])
            if _selects(service, labels_of(pod))
            and pod["status"].get("podIP")
            and pod["status"].get("phase") not in ("Succeeded", "Failed")
        ]
        trigger = self._trigger(key, service, pods)
        self._write_slice(service, pods, trigger)
        self._write_endpoints(service, [pod for pod in pods if not is_terminating(pod)], trigger)
        return None

    def _trigger(self, key: Key, service: Object, pods: list[Object]) -> str | None:
        """The time of the change that led here: of the Service's creation, or of a pod's readiness."""
        times = []
        if (key, "") not in self._ready_since:
            self._ready_since[key, ""] = service["metadata"]["creationTimestamp"]
            times.append(service["metadata"]["creationTimestamp"])
        for pod in pods:
            entry = condition(pod, "Ready")
            since = (entry or {}).get("lastTransitionTime") or ""
            if since and self._ready_since.get((key, name_of(pod))) != since:
                self._ready_since[key, name_of(pod)] = since
                times.append(since)
        return min(times, default=None)

    def _write_slice(self, service: Object, pods: list[Object], trigger: str | None) -> None:
        ports = _ports(service, pods[0]) if pods else None
        content: Object = {
            "addressType": "IPv4",
            "endpoints": [_endpoint(pod) for pod in pods] or None,
            "ports": [{"name": p.get("name", ""), "protocol": p["protocol"], "port": p["port"]} for p in ports or []]
            or None,
        }
        slices = self.store.objects(ENDPOINT_SLICES, namespace_of(service))
        existing = next((item for item in slices if is_controlled_by(item, service)), None)
        labels = {
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            _SERVICE_NAME: name_of(service),
        } | ({"service.kubernetes.io/headless": ""} if service["spec"].get("clusterIP") == "None" else {})
        if existing is None:
            metadata = {
                "generateName": f"{name_of(service)}-", "labels": labels, "ownerReferences": [owner_reference(service)],
            }  # fmt: skip
            body = {
                "apiVersion": ENDPOINT_SLICES.api_version,
                "kind": ENDPOINT_SLICES.kind,
                "metadata": metadata,
                **content,
            }
            _set_trigger(body, trigger)
            self.registry.create(ENDPOINT_SLICES, namespace_of(service), body, controller_write())
        elif any(existing.get(field) != value for field, value in content.items()):
            changed = clone(existing) | content
            _set_trigger(changed, trigger)
            self.update(ENDPOINT_SLICES, changed)

    def _write_endpoints(self, service: Object, pods: list[Object], trigger: str | None) -> None:
        subset: Object = {}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            found = [_address(pod) for pod in pods if is_true(pod, "Ready") is wanted]
            if found:
                subset[field] = found
        if subset:
            subset["ports"] = sorted(_ports(service, pods[0]), key=lambda port: str(port.get("name", "")))
        content = {"subsets": [subset]} if subset else {}
        existing = self.store.get(ENDPOINTS, namespace_of(service), name_of(service))
        if existing is None:
            metadata: Object = {
                "name": name_of(service), "labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"},
            }  # fmt: skip
            body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, **content}
            _set_trigger(body, trigger)
            self.registry.create(ENDPOINTS, namespace_of(service), body, controller_write())
        elif existing.get("subsets") != content.get("subsets"):
            changed = {**clone({k: v for k, v in existing.items() if k != "subsets"}), **content}
            _set_trigger(changed, trigger)
            self.update(ENDPOINTS, changed)


def _selects(service: Object, labels: dict[str, str]) -> bool:
    selector = service["spec"].get("selector")
    return bool(selector) and match_labels({"matchLabels": selector}, labels)


def _set_trigger(item: Object, trigger: str | None) -> None:
    annotations = item["metadata"].setdefault("annotations", {})
    annotations.pop(_TRIGGER, None)
    if trigger is not None:
        annotations[_TRIGGER] = trigger


def _ports(service: Object, pod: Object) -> list[Object]:
    """The Service's ports as the pod has them: named target ports are looked up in its containers."""
    named = {
        port["name"]: port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
        if port.get("name")
    }
    found = []
    for port in service["spec"].get("ports") or []:
        target = port["targetPort"]
        number = target if isinstance(target, int) else named.get(target)
        if number is not None:
            name = {"name": port["name"]} if port.get("name") else {}
            found.append({**name, "port": number, "protocol": port["protocol"]})
    return found


def _reference(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": pod["metadata"]["uid"]}


def _endpoint(pod: Object) -> Object:
    serving, terminating = is_true(pod, "Ready"), is_terminating(pod)
    conditions = {"ready": serving and not terminating, "serving": serving, "terminating": terminating}
    return {
        "addresses": [pod["status"]["podIP"]], "conditions": conditions, "targetRef": _reference(pod),
        "nodeName": pod["spec"].get("nodeName", ""),
    }  # fmt: skip


def _address(pod: Object) -> Object:
    return {"ip": pod["status"]["podIP"], "nodeName": pod["spec"].get("nodeName", ""), "targetRef": _reference(pod)}
