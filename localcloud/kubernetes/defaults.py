"""The values that the API server fills in where a client says nothing. Changes the given object in place.

``_DEFAULTS`` and ``_FIRST_STATUS`` are tables; what depends on other fields stands in a function of the kind below them.
"""

import base64
import copy
from collections.abc import Callable
from typing import Any

from localcloud.kubernetes.objects import Object, timestamp
from localcloud.kubernetes.pod_defaults import qos_class, set_pod_defaults, set_pod_spec_defaults
from localcloud.kubernetes.resources import Resource

_TEMPLATE: Object = {"metadata": {}, "spec": {}}
_DEFAULTS: dict[str, Object] = {
    "Secret": {"type": "Opaque"},
    "PersistentVolume": {"spec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"}},
    "PersistentVolumeClaim": {"spec": {"volumeMode": "Filesystem"}},
    "Service": {
        "spec": {
            "type": "ClusterIP", "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
    },
    "Deployment": {
        "spec": {
            "template": _TEMPLATE, "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate"},
        },
    },
    "ReplicaSet": {"spec": {"template": _TEMPLATE, "replicas": 1}},
    "DaemonSet": {
        "spec": {"template": _TEMPLATE, "revisionHistoryLimit": 10, "updateStrategy": {"type": "RollingUpdate"}},
    },
    "Job": {
        "spec": {
            "template": _TEMPLATE, "parallelism": 1, "completions": 1, "backoffLimit": 6, "manualSelector": False,
            "completionMode": "NonIndexed", "suspend": False, "podReplacementPolicy": "TerminatingOrFailed",
        },
    },
    "HorizontalPodAutoscaler": {"spec": {"minReplicas": 1}},
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "EndpointSlice": {"endpoints": None, "ports": None},
    "CSIDriver": {
        "spec": {
            "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False,
            "seLinuxMount": False, "fsGroupPolicy": "ReadWriteOnceWithFSType", "volumeLifecycleModes": ["Persistent"],
        },
    },
    "Node": {
        "spec": {},
        "status": {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": dict.fromkeys(
                (
                    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion",
                    "kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture",
                ), "",
            ),
        },
    },
}  # fmt: skip
_FIRST_STATUS: dict[str, Object] = {
    "Namespace": {"phase": "Active"},
    "PersistentVolume": {"phase": "Pending"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "Service": {"loadBalancer": {}},
    "Pod": {"phase": "Pending"},
    "Deployment": {},
    "Job": {},
    "ReplicaSet": {"replicas": 0},
    "DaemonSet": dict.fromkeys(
        ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"), 0
    ),
    "HorizontalPodAutoscaler": {"desiredReplicas": 0, "currentMetrics": None},
    "PodDisruptionBudget": dict.fromkeys(("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0),
}


def set_defaults(resource: Resource, item: Object) -> None:
    """Fills the defaults of the kind in."""
    _fill(item, _DEFAULTS.get(resource.kind, {}))
    complete = _BY_KIND.get(resource.kind)
    if complete is not None:
        complete(item)


def set_creation_status(resource: Resource, item: Object) -> None:
    """Sets the status that a new object has, whatever its creator says; a node's creator is the kubelet."""
    if resource.kind in _FIRST_STATUS:
        item["status"] = copy.deepcopy(_FIRST_STATUS[resource.kind])
    match resource.kind:
        case "PersistentVolume":
            item["status"]["lastPhaseTransitionTime"] = timestamp()
        case "Pod":
            item["status"]["qosClass"] = qos_class(item["spec"])
        case _:
            pass


def _fill(target: Object, defaults: Object) -> None:
    for name, value in defaults.items():
        if isinstance(value, dict):
            _fill(target.setdefault(name, {}), value)
        else:
            target.setdefault(name, copy.copy(value))


def _node(item: Object) -> None:
    status = item["status"]
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))


def _namespace(item: Object) -> None:
    spec = item.setdefault("spec", {})
    if "deletionTimestamp" not in item["metadata"]:
        spec.setdefault("finalizers", ["kubernetes"])
    item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"].get("name", "")


def _secret(item: Object) -> None:
    for key, text in (item.pop("stringData", None) or {}).items():
        item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def _volume(item: Object) -> None:
    if item["spec"].get("storageClassName") == "":
        del item["spec"]["storageClassName"]
    _protect(item, "kubernetes.io/pv-protection")


def _claim(item: Object) -> None:
    _protect(item, "kubernetes.io/pvc-protection")


def _protect(item: Object, finalizer: str) -> None:
    finalizers = item["metadata"].setdefault("finalizers", [])
    if not finalizers and "deletionTimestamp" not in item["metadata"]:
        finalizers.append(finalizer)


def _service(item: Object) -> None:
    spec = item["spec"]
    exposed = spec["type"] in ("LoadBalancer", "NodePort")
    for field, value, belongs in (
        ("externalTrafficPolicy", "Cluster", exposed),
        ("allocateLoadBalancerNodePorts", True, spec["type"] == "LoadBalancer"),
    ):
        if belongs:
            spec.setdefault(field, value)
        else:
            spec.pop(field, None)
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if "port" in port:
            port.setdefault("targetPort", port["port"])
        if not exposed:
            port.pop("nodePort", None)
    for ingress in item.get("status", {}).get("loadBalancer", {}).get("ingress") or []:
        if "ip" in ingress:
            ingress.setdefault("ipMode", "VIP")


def _workload(item: Object) -> None:
    spec = item["spec"]
    set_pod_spec_defaults(spec["template"]["spec"])
    shares: dict[str, dict[str, Any]] = {
        "strategy": {"maxUnavailable": "25%", "maxSurge": "25%"}, "updateStrategy": {"maxUnavailable": 1, "maxSurge": 0},
    }  # fmt: skip
    for field, share in shares.items():
        if spec.get(field, {}).get("type") == "RollingUpdate":
            _fill(spec[field], {"rollingUpdate": share})


def _job(item: Object) -> None:
    _workload(item)
    spec, metadata = item["spec"], item["metadata"]
    uid = metadata.get("uid")
    if uid and not spec["manualSelector"] and "selector" not in spec:
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        name = metadata.get("name", "")
        own = {
            "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name, "controller-uid": uid,
            "job-name": name,
        }  # fmt: skip
        spec["template"]["metadata"].setdefault("labels", {}).update(own)
        if not metadata.get("labels"):
            metadata["labels"] = dict(spec["template"]["metadata"]["labels"])


def _autoscaler(item: Object) -> None:
    if not item["spec"].get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        item["spec"]["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _network_policy(item: Object) -> None:
    spec = item["spec"]
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if "egress" in spec else ["Ingress"])
    for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
        for port in rule.get("ports") or []:
            port.setdefault("protocol", "TCP")


def _endpoint_slice(item: Object) -> None:
    for port in item["ports"] or []:
        _fill(port, {"protocol": "TCP", "name": ""})


_BY_KIND: dict[str, Callable[[Object], None]] = {
    "Node": _node, "Namespace": _namespace, "Secret": _secret, "PersistentVolume": _volume,
    "PersistentVolumeClaim": _claim, "Service": _service, "Pod": set_pod_defaults, "Deployment": _workload,
    "ReplicaSet": _workload, "DaemonSet": _workload, "Job": _job, "HorizontalPodAutoscaler": _autoscaler,
    "NetworkPolicy": _network_policy, "EndpointSlice": _endpoint_slice,
}  # fmt: skip
