"""InferenceServices, as KServe handles them in its Kubernetes mode (RawDeployment, since 0.16 Standard).

Each becomes a Deployment and a Service ``NAME-predictor`` with its labels and annotations, the label ``app`` being KServe's
own; where the class of the autoscaler is not ``external``, also a HorizontalPodAutoscaler.
"""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.kserve import EXTENSIONS, INFERENCE_SERVICES
from localcloud.kubernetes.objects import (
    Object,
    annotations_of,
    controller_of,
    dig,
    is_terminating,
    is_true,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    since,
)
from localcloud.kubernetes.registry import Write
from localcloud.kubernetes.resources import AUTOSCALERS, DEPLOYMENTS, SERVICES, Resource
from localcloud.kubernetes.store import Change, Key

_CLASS = "serving.kserve.io/autoscalerClass"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class InferenceServiceController(Controller):
    """Makes what an InferenceService stands for, and says how far it is."""

    watched = INFERENCE_SERVICES
    manager = "kserve-controller"

    def related(self, change: Change) -> Iterable[Key]:
        """That of a Deployment which changed."""
        owner = controller_of(change.item) if change.resource is DEPLOYMENTS else None
        if owner is None or owner["kind"] != INFERENCE_SERVICES.kind:
            return []
        return [(namespace_of(change.item), owner["name"])]

    def reconcile(self, key: Key) -> float | None:
        """Applies the objects of one InferenceService and writes its status."""
        service = self.store.get(INFERENCE_SERVICES, *key)
        if service is None or is_terminating(service):
            return None
        containers = dig(service, "spec", "predictor", "containers") or []
        if not containers:
            fault = "the specification is invalid: predictor has no container"
            self._write_status(service, ready=False, reason="InvalidPredictorSpec", message=fault)
            return None
        deployment = self._apply(DEPLOYMENTS, service, _deployment(service))
        self._apply(SERVICES, service, _service(service, containers[0]))
        if not _is_external(service):
            self._apply(AUTOSCALERS, service, _autoscaler(service))
        self._write_status(service, ready=_is_rolled_out(deployment))
        return None

    def _apply(self, resource: Resource, service: Object, config: Object) -> Object:
        metadata: Object = {
            "name": _predictor(service), "namespace": namespace_of(service), "labels": _labels(service),
            "annotations": _annotations(service), "ownerReferences": [owner_reference(service)],
        }  # fmt: skip
        whole: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **config}
        write = Write(self.manager, force=True)
        return self.registry.apply(resource, namespace_of(service), _predictor(service), whole, write)[0]

    def _write_status(self, service: Object, *, ready: bool, reason: str = "", message: str = "") -> None:
        url = f"http://{_predictor(service)}.{namespace_of(service)}.svc.cluster.local"
        conditions = [
            _condition(service, "IngressReady", ready=ready),
            _condition(service, "PredictorReady", ready=ready, reason=reason, message=message),
            _condition(service, "Ready", ready=ready, reason=reason, message=message),
        ]
        status: Object = {"conditions": conditions, "deploymentMode": "Standard"}
        status |= {"url": url, "address": {"url": url}} if ready else {}
        self.update_status(INFERENCE_SERVICES, service, status)


def _deployment(service: Object) -> Object:
    predictor = service["spec"]["predictor"]
    pod = {field: value for field, value in predictor.items() if field not in EXTENSIONS}
    spec: Object = {
        "selector": {"matchLabels": {"app": _app(service)}},
        "template": {"metadata": {"labels": _labels(service), "annotations": _annotations(service)}, "spec": pod},
    }
    if "deploymentStrategy" in predictor:
        spec["strategy"] = predictor["deploymentStrategy"]
    if _is_external(service):
        spec["replicas"] = predictor.get("minReplicas", 1)
    return {"spec": spec}


def _service(service: Object, container: Object) -> Object:
    ports = container.get("ports") or [{"containerPort": 8080, "name": _predictor(service)}]
    first, *others = (
        {
            "name": port.get("name", ""),
            "port": port["containerPort"],
            "targetPort": port["containerPort"],
            "protocol": "TCP",
        }
        for port in ports
    )
    return {"spec": {"selector": {"app": _app(service)}, "ports": [first | {"port": 80}, *others]}}


def _autoscaler(service: Object) -> Object:
    predictor = service["spec"]["predictor"]
    low = max(1, predictor.get("minReplicas", 1))
    target = {"type": "Utilization", "averageUtilization": 80}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": _predictor(service)}
    return {
        "spec": {
            "scaleTargetRef": reference, "minReplicas": low, "maxReplicas": max(low, predictor.get("maxReplicas", 0)),
            "metrics": [metric],
        }
    }  # fmt: skip


def _is_rolled_out(deployment: Object) -> bool:
    observed = dig(deployment, "status", "observedGeneration") or 0
    return observed >= deployment["metadata"]["generation"] and is_true(deployment, "Available")


def _condition(service: Object, kind: str, *, ready: bool, reason: str = "", message: str = "") -> Object:
    status = "True" if ready else "False"
    said = {key: text for key, text in (("reason", reason), ("message", message)) if text}
    return {"type": kind, "status": status, "lastTransitionTime": since(service, kind, status), **said}


def _is_external(service: Object) -> bool:
    return annotations_of(service).get(_CLASS, "hpa") in ("external", "none")


def _predictor(service: Object) -> str:
    return f"{name_of(service)}-predictor"


def _app(service: Object) -> str:
    return f"isvc.{_predictor(service)}"


def _labels(service: Object) -> Object:
    own = {"app": _app(service), "component": "predictor", "serving.kserve.io/inferenceservice": name_of(service)}
    return {**labels_of(service), **own}


def _annotations(service: Object) -> Object:
    return {key: text for key, text in annotations_of(service).items() if key != _LAST_APPLIED}
