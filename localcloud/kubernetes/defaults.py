"""The values that the API server fills in where a client says nothing. Changes the given object in place."""

import base64
from collections.abc import Callable
from typing import Any

from localcloud.kubernetes.objects import Object, timestamp
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


def qos_class(spec: Object) -> str:
    """Returns the quality-of-service class of a pod: by the cpu and memory that its containers ask for."""
    amounts = [container.get("resources") or {} for container in spec.get("containers", [])]
    named = [
        {key: (part.get(key) or {}).get(unit) for key in ("limits", "requests")}
        for part in amounts
        for unit in ("cpu", "memory")
    ]
    if not any(value for entry in named for value in entry.values()):
        return "BestEffort"
    guaranteed = all(entry["limits"] and entry["requests"] in (None, entry["limits"]) for entry in named)
    return "Guaranteed" if guaranteed else "Burstable"


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


def _pod(item: Object) -> None:
    spec = item.setdefault("spec", {})
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for taint in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(entry.get("key") == taint for entry in tolerations):
            tolerations.append({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        resources = container["resources"]
        if resources.get("limits"):
            resources["requests"] = resources["limits"] | (resources.get("requests") or {})
    for status in [
        *(item.get("status", {}).get("containerStatuses") or []),
        *(item.get("status", {}).get("initContainerStatuses") or []),
    ]:
        for name, empty in (("state", dict[str, Any]()), ("lastState", dict[str, Any]()), ("imageID", "")):
            status.setdefault(name, empty)
        for state in (status["state"], status["lastState"]):
            for name, details in state.items():
                state[name] = {field: value for field, value in details.items() if value != ""}
        status.setdefault("restartCount", 0)
        status.setdefault("ready", False)
    for entry in item.get("status", {}).get("conditions") or []:
        entry.setdefault("lastProbeTime", None)
        entry.setdefault("lastTransitionTime", None)


def pod_spec(spec: Object) -> None:
    """Fills the defaults of a pod's specification in, as a pod template has them too."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        _container(container)
    for volume in spec.get("volumes") or []:
        for source in ("configMap", "secret", "projected", "downwardAPI"):
            if source in volume:
                volume[source].setdefault("defaultMode", 0o644)
        if "hostPath" in volume:
            volume["hostPath"].setdefault("type", "")


def _container(container: Object) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    image = str(container.get("image", ""))
    tag = image.rsplit("/", 1)[-1].partition("@")[0].partition(":")[2]
    floating = "@" not in image and tag in ("", "latest")
    container.setdefault("imagePullPolicy", "Always" if floating else "IfNotPresent")
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            for field, value in (
                ("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3),
            ):  # fmt: skip
                probe.setdefault(field, value)
            _http_get(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _http_get(hook)
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            reference.setdefault("apiVersion", "v1")


def _http_get(action: Object) -> None:
    if "httpGet" in action:
        action["httpGet"].setdefault("path", "/")
        action["httpGet"].setdefault("scheme", "HTTP")


def _template(item: Object) -> Object:
    spec: Object = item.setdefault("spec", {})
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))
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
    "PersistentVolumeClaim": _claim, "Service": _service, "Pod": _pod, "Deployment": _deployment,
    "ReplicaSet": _replica_set, "DaemonSet": _daemon_set, "Job": _job, "HorizontalPodAutoscaler": _autoscaler,
    "NetworkPolicy": _network_policy, "EndpointSlice": _endpoint_slice, "CSIDriver": _csi_driver,
}  # fmt: skip
