"""The values that the API server fills in where a client says nothing. Changes the given object in place."""

import base64
from collections.abc import Callable

from localcloud.kubernetes.objects import Object, timestamp
from localcloud.kubernetes.pod_defaults import qos_class, set_pod_defaults, set_pod_spec_defaults
from localcloud.kubernetes.resources import Resource


def set_defaults(resource: Resource, item: Object) -> None:
    """Fills the defaults of the kind in."""
    fill = _BY_KIND.get(resource.kind)
    if fill is not None:
        fill(item)


def set_creation_status(resource: Resource, item: Object) -> None:
    """Sets the status that a new object has."""
    match resource.kind:
        case "Namespace":
            item["status"] = {"phase": "Active"}
        case "PersistentVolume":
            item["status"] = {"phase": "Pending", "lastPhaseTransitionTime": timestamp()}
        case "PersistentVolumeClaim":
            item["status"] = {"phase": "Pending"}
        case "Service":
            item["status"] = {"loadBalancer": {}}
        case "Pod":
            item["status"] = {"phase": "Pending", "qosClass": qos_class(item["spec"])}
        case "ReplicaSet":
            item["status"] = {"replicas": 0}
        case "DaemonSet":
            names = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
            item["status"] = dict.fromkeys(names, 0)
        case "HorizontalPodAutoscaler":
            item["status"] = {"desiredReplicas": 0, "currentMetrics": None}
        case "PodDisruptionBudget":
            names = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
            item["status"] = dict.fromkeys(names, 0)
        case "Deployment" | "Job":
            item["status"] = {}
        case "Node":
            item.setdefault("status", {})
            _node(item)
        case _:
            pass


def _node(item: Object) -> None:
    status = item.setdefault("status", {})
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {}).setdefault("Port", 0)
    info = status.setdefault("nodeInfo", {})
    for name in (
        "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
        "kubeProxyVersion", "operatingSystem", "architecture",
    ):  # fmt: skip
        info.setdefault(name, "")
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))


def _namespace(item: Object) -> None:
    spec = item.setdefault("spec", {})
    if "deletionTimestamp" not in item["metadata"]:
        spec.setdefault("finalizers", ["kubernetes"])
    item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"].get("name", "")


def _secret(item: Object) -> None:
    item.setdefault("type", "Opaque")
    for key, text in (item.pop("stringData", None) or {}).items():
        item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def _volume(item: Object) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    if spec.get("storageClassName") == "":
        del spec["storageClassName"]
    finalizers = item["metadata"].setdefault("finalizers", [])
    if not finalizers and "deletionTimestamp" not in item["metadata"]:
        finalizers.append("kubernetes.io/pv-protection")


def _claim(item: Object) -> None:
    item.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    finalizers = item["metadata"].setdefault("finalizers", [])
    if not finalizers and "deletionTimestamp" not in item["metadata"]:
        finalizers.append("kubernetes.io/pvc-protection")


def _service(item: Object) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    exposed = spec["type"] in ("LoadBalancer", "NodePort")
    if exposed:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    else:
        spec.pop("externalTrafficPolicy", None)
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    else:
        spec.pop("allocateLoadBalancerNodePorts", None)
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if "port" in port:
            port.setdefault("targetPort", port["port"])
        if not exposed:
            port.pop("nodePort", None)
    for ingress in item.get("status", {}).get("loadBalancer", {}).get("ingress") or []:
        if "ip" in ingress:
            ingress.setdefault("ipMode", "VIP")


def _template(item: Object) -> Object:
    spec: Object = item.setdefault("spec", {})
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    set_pod_spec_defaults(template.setdefault("spec", {}))
    return spec


def _deployment(item: Object) -> None:
    spec = _template(item)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _replica_set(item: Object) -> None:
    _template(item).setdefault("replicas", 1)


def _daemon_set(item: Object) -> None:
    spec = _template(item)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _job(item: Object) -> None:
    spec = _template(item)
    for name, value in (
        ("parallelism", 1), ("completions", 1), ("backoffLimit", 6), ("manualSelector", False),
        ("completionMode", "NonIndexed"), ("suspend", False), ("podReplacementPolicy", "TerminatingOrFailed"),
    ):  # fmt: skip
        spec.setdefault(name, value)
    uid = item["metadata"].get("uid")
    if uid and not spec["manualSelector"] and "selector" not in spec:
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        name = item["metadata"].get("name", "")
        own = {
            "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name, "controller-uid": uid,
            "job-name": name,
        }  # fmt: skip
        spec["template"]["metadata"].setdefault("labels", {}).update(own)
        if not item["metadata"].get("labels"):
            item["metadata"]["labels"] = dict(spec["template"]["metadata"]["labels"])


def _autoscaler(item: Object) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _network_policy(item: Object) -> None:
    spec = item.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if "egress" in spec else ["Ingress"])
    for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
        for port in rule.get("ports") or []:
            port.setdefault("protocol", "TCP")


def _endpoint_slice(item: Object) -> None:
    item.setdefault("endpoints", None)
    item.setdefault("ports", None)
    for port in item["ports"] or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("name", "")


def _csi_driver(item: Object) -> None:
    spec = item.setdefault("spec", {})
    for name, value in (
        ("attachRequired", True), ("podInfoOnMount", False), ("storageCapacity", False), ("requiresRepublish", False),
        ("seLinuxMount", False), ("fsGroupPolicy", "ReadWriteOnceWithFSType"), ("volumeLifecycleModes", ["Persistent"]),
    ):  # fmt: skip
        spec.setdefault(name, value)


_BY_KIND: dict[str, Callable[[Object], None]] = {
    "Node": _node, "Namespace": _namespace, "Secret": _secret, "PersistentVolume": _volume,
    "PersistentVolumeClaim": _claim, "Service": _service, "Pod": set_pod_defaults, "Deployment": _deployment,
    "ReplicaSet": _replica_set, "DaemonSet": _daemon_set, "Job": _job, "HorizontalPodAutoscaler": _autoscaler,
    "NetworkPolicy": _network_policy, "EndpointSlice": _endpoint_slice, "CSIDriver": _csi_driver,
}  # fmt: skip
