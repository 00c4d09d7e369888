"""The columns of ``kubectl get``, kind by kind, and what stands in them."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from localcloud.kubernetes.objects import Object, dig, is_terminating, is_true, labels_of, parse_time

Cell = str | int
Column = Callable[[Object], Cell]
"""What a column shows of an object; a name that ends in ``|wide`` is shown by ``-o wide`` only."""

_NONE = "<none>"


def human_duration(seconds: float) -> str:
    """Writes a duration as kubectl does: two units at most, one once the first is large."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def at(path: str, default: Cell = "") -> Column:
    """Returns a column that shows what stands at a path, or ``default`` for nothing."""
    return lambda item: dig(item, *path.split(".")) or default


def _since(text: str | None) -> str:
    return human_duration((datetime.now(UTC) - parse_time(text)).total_seconds()) if text else "<unknown>"


def _ago(path: str) -> Column:
    return lambda item: _since(dig(item, *path.split(".")))


def _joined(values: Iterable[str], empty: str = _NONE) -> str:
    return ",".join(values) or empty


def _pairs(path: str) -> Column:
    """Shows a map as kubectl shows labels."""
    return lambda item: _joined(f"{k}={v}" for k, v in sorted((dig(item, *path.split(".")) or {}).items()))


def _containers(field: str) -> Column:
    return lambda item: _joined(c.get(field, "") for c in dig(item, "spec", "template", "spec", "containers") or [])


def _count(*fields: str) -> Column:
    return lambda item: sum(len(item.get(field) or ()) for field in fields)


def pod_status(pod: Object) -> str:
    """Returns the STATUS column of a pod: its phase, or why a container is not running."""
    status = pod.get("status") or {}
    text = str(status.get("reason") or status.get("phase", "Unknown"))
    inits, sidecars = status.get("initContainerStatuses") or [], _sidecars(pod)
    for number, entry in enumerate(inits):
        if entry["name"] in sidecars and entry.get("started"):
            continue
        state = entry.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason")
        if reason and reason not in ("Completed", "PodInitializing"):
            return f"Init:{reason}"
        if "terminated" not in state:
            return f"Init:{number}/{len(inits)}"
    for entry in reversed(status.get("containerStatuses") or []):
        state = entry.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason"):
            text = waiting["reason"]
        elif ended:
            text = ended.get("reason") or f"ExitCode:{ended.get('exitCode', 0)}"
    if is_terminating(pod):
        return "Terminating"
    return text


def _sidecars(pod: Object) -> set[str]:
    """The init containers that go on beside the others."""
    first = pod["spec"].get("initContainers") or []
    return {container["name"] for container in first if container.get("restartPolicy") == "Always"}


def _lasting(pod: Object) -> list[Object]:
    """The statuses of the containers that are to stay: sidecars count as the others do."""
    sidecars = [each for each in dig(pod, "status", "initContainerStatuses") or [] if each["name"] in _sidecars(pod)]
    return [*sidecars, *(dig(pod, "status", "containerStatuses") or [])]


def _pod_ready(pod: Object) -> Cell:
    ready = sum(1 for entry in _lasting(pod) if entry.get("ready"))
    return f"{ready}/{len(_sidecars(pod)) + len(pod['spec']['containers'])}"


def _restarts(pod: Object) -> Cell:
    statuses = _lasting(pod)
    restarts = sum(entry.get("restartCount", 0) for entry in statuses)
    ended = [dig(entry, "lastState", "terminated", "finishedAt") for entry in statuses]
    latest = max((moment for moment in ended if moment), default=None)
    return f"{restarts} ({_since(latest)} ago)" if restarts and latest else restarts


def _deployment_ready(item: Object) -> Cell:
    return f"{dig(item, 'status', 'readyReplicas') or 0}/{item['spec'].get('replicas', 0)}"


def _job_status(item: Object) -> Cell:
    return "Complete" if is_true(item, "Complete") else "Failed" if is_true(item, "Failed") else "Running"


def _job_done(item: Object) -> Cell:
    return f"{dig(item, 'status', 'succeeded') or 0}/{item['spec'].get('completions', 1)}"


def _job_duration(item: Object) -> Cell:
    begun, ended = (dig(item, "status", field) for field in ("startTime", "completionTime"))
    end = parse_time(ended) if ended else datetime.now(UTC)
    return human_duration((end - parse_time(begun)).total_seconds()) if begun else ""


def _node_status(item: Object) -> Cell:
    status = "Ready" if is_true(item, "Ready") else "NotReady"
    return status + (",SchedulingDisabled" if item["spec"].get("unschedulable") else "")


def _node_roles(item: Object) -> Cell:
    prefix = "node-role.kubernetes.io/"
    return _joined(sorted(label.removeprefix(prefix) for label in labels_of(item) if label.startswith(prefix)))


def _node_address(kind: str) -> Column:
    def shown(item: Object) -> Cell:
        addresses = {entry["type"]: str(entry["address"]) for entry in dig(item, "status", "addresses") or []}
        return addresses.get(kind, _NONE)

    return shown


def _external_address(item: Object) -> Cell:
    pending = "<pending>" if item["spec"]["type"] == "LoadBalancer" else _NONE
    return _joined((i.get("ip", "") for i in dig(item, "status", "loadBalancer", "ingress") or []), pending)


def _service_ports(item: Object) -> Cell:
    def shown(port: Object) -> str:
        outside = f":{port['nodePort']}" if port.get("nodePort") else ""
        return f"{port['port']}{outside}/{port['protocol']}"

    return _joined(map(shown, item["spec"].get("ports") or []))


def _endpoints(item: Object) -> Cell:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets") or []
        for address in subset.get("addresses") or []
        for port in subset.get("ports") or []
    ]
    return _joined(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")


def _slice_ports(item: Object) -> Cell:
    return _joined((str(port.get("port", "")) for port in item.get("ports") or []), "<unset>")


def _slice_addresses(item: Object) -> Cell:
    return _joined(address for entry in item.get("endpoints") or [] for address in entry["addresses"])


_MODES = {"ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOnce": "RWO", "ReadWriteOncePod": "RWOP"}


def _modes(item: Object) -> Cell:
    return ",".join(_MODES.get(mode, mode) for mode in item["spec"].get("accessModes") or [])


def _phase(item: Object) -> Cell:
    return "Terminating" if is_terminating(item) else dig(item, "status", "phase") or ""


def _volume_claim(item: Object) -> Cell:
    claim = item["spec"].get("claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _last_seen(item: Object) -> Cell:
    return _since(item.get("lastTimestamp") or item.get("eventTime") or item["metadata"].get("creationTimestamp"))


def _event_object(item: Object) -> Cell:
    about = item.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _scale_target(item: Object) -> Cell:
    reference = item["spec"]["scaleTargetRef"]
    return f"{reference['kind']}/{reference['name']}"


def _metrics(item: Object) -> Cell:
    def shown(metric: Object) -> str:
        wanted: Any = dig(metric, "resource", "target", "averageUtilization")
        return f"{dig(metric, 'resource', 'name') or metric['type']}: <unknown>/{wanted}%"

    return _joined(map(shown, item["spec"].get("metrics") or []))


_NAME, _AGE = at("metadata.name"), _ago("metadata.creationTimestamp")
_CLASS = {
    "StorageClass": at("spec.storageClassName"),
    "VolumeAttributesClass": at("spec.volumeAttributesClassName", "<unset>"),
}
_WORKLOAD = {"Containers|wide": _containers("name"), "Images|wide": _containers("image")}
_SELECTED = {**_WORKLOAD, "Selector|wide": _pairs("spec.selector.matchLabels")}

NUMBERS = frozenset(
    {"Up-to-date", "Available", "Desired", "Current", "Allowed Disruptions", "Replicas", "Secrets", "Count"}
)
PLAIN: dict[str, Column] = {"Name": _NAME, "Created At": at("metadata.creationTimestamp")}
COLUMNS: dict[str, dict[str, Column]] = {
    "Pod": {
        "Name": _NAME, "Ready": _pod_ready, "Status": pod_status, "Restarts": _restarts, "Age": _AGE,
        "IP|wide": at("status.podIP", _NONE), "Node|wide": at("spec.nodeName", _NONE),
        "Nominated Node|wide": at("status.nominatedNodeName", _NONE), "Readiness Gates|wide": lambda _: _NONE,
    },
    "Deployment": {
        "Name": _NAME, "Ready": _deployment_ready, "Up-to-date": at("status.updatedReplicas", 0),
        "Available": at("status.availableReplicas", 0), "Age": _AGE, **_SELECTED,
    },
    "ReplicaSet": {
        "Name": _NAME, "Desired": at("spec.replicas", 0), "Current": at("status.replicas", 0),
        "Ready": at("status.readyReplicas", 0), "Age": _AGE, **_SELECTED,
    },
    "DaemonSet": {
        "Name": _NAME, "Desired": at("status.desiredNumberScheduled", 0),
        "Current": at("status.currentNumberScheduled", 0), "Ready": at("status.numberReady", 0),
        "Up-to-date": at("status.updatedNumberScheduled", 0), "Available": at("status.numberAvailable", 0),
        "Node Selector": _pairs("spec.template.spec.nodeSelector"), "Age": _AGE, **_WORKLOAD,
    },
    "Job": {
        "Name": _NAME, "Status": _job_status, "Completions": _job_done, "Duration": _job_duration, "Age": _AGE,
        **_WORKLOAD,
    },
    "Node": {
        "Name": _NAME, "Status": _node_status, "Roles": _node_roles, "Age": _AGE,
        "Version": at("status.nodeInfo.kubeletVersion"), "Internal-IP|wide": _node_address("InternalIP"),
        "External-IP|wide": _node_address("ExternalIP"), "OS-Image|wide": at("status.nodeInfo.osImage", "<unknown>"),
        "Kernel-Version|wide": at("status.nodeInfo.kernelVersion", "<unknown>"),
        "Container-Runtime|wide": at("status.nodeInfo.containerRuntimeVersion", "<unknown>"),
    },
    "Service": {
        "Name": _NAME, "Type": at("spec.type"), "Cluster-IP": at("spec.clusterIP", _NONE),
        "External-IP": _external_address, "Port(s)": _service_ports, "Age": _AGE, "Selector|wide": _pairs("spec.selector"),
    },
    "Endpoints": {"Name": _NAME, "Endpoints": _endpoints, "Age": _AGE},
    "EndpointSlice": {
        "Name": _NAME, "AddressType": at("addressType"), "Ports": _slice_ports, "Endpoints": _slice_addresses, "Age": _AGE,
    },
    "PersistentVolume": {
        "Name": _NAME, "Capacity": at("spec.capacity.storage"), "Access Modes": _modes,
        "Reclaim Policy": at("spec.persistentVolumeReclaimPolicy"), "Status": _phase, "Claim": _volume_claim, **_CLASS,
        "Reason": at("status.reason"), "Age": _AGE, "VolumeMode|wide": at("spec.volumeMode"),
    },
    "PersistentVolumeClaim": {
        "Name": _NAME, "Status": _phase, "Volume": at("spec.volumeName"), "Capacity": at("status.capacity.storage"),
        "Access Modes": _modes, **_CLASS, "Age": _AGE, "VolumeMode|wide": at("spec.volumeMode"),
    },
    "Event": {
        "Last Seen": _last_seen, "Type": at("type"), "Reason": at("reason"), "Object": _event_object,
        "Subobject|wide": at("involvedObject.fieldPath"), "Source|wide": at("source.component"),
        "Message": at("message"), "First Seen|wide": _ago("firstTimestamp"), "Count|wide": at("count", 1),
        "Name|wide": _NAME,
    },
    "Namespace": {"Name": _NAME, "Status": at("status.phase"), "Age": _AGE},
    "ConfigMap": {"Name": _NAME, "Data": _count("data", "binaryData"), "Age": _AGE},
    "Secret": {"Name": _NAME, "Type": at("type"), "Data": _count("data"), "Age": _AGE},
    "ServiceAccount": {"Name": _NAME, "Secrets": _count("secrets"), "Age": _AGE},
    "PodDisruptionBudget": {
        "Name": _NAME, "Min Available": at("spec.minAvailable", "N/A"), "Max Unavailable": at("spec.maxUnavailable", "N/A"),
        "Allowed Disruptions": at("status.disruptionsAllowed", 0), "Age": _AGE,
    },
    "HorizontalPodAutoscaler": {
        "Name": _NAME, "Reference": _scale_target, "Targets": _metrics, "MinPods": at("spec.minReplicas", 1),
        "MaxPods": at("spec.maxReplicas"), "Replicas": at("status.currentReplicas", 0), "Age": _AGE,
    },
    "NetworkPolicy": {"Name": _NAME, "Pod-Selector": _pairs("spec.podSelector.matchLabels"), "Age": _AGE},
    "Lease": {"Name": _NAME, "Holder": at("spec.holderIdentity"), "Age": _AGE},
    "InferenceService": {
        "Name": _NAME, "URL": at("status.url"), "Ready": lambda o: str(is_true(o, "Ready")), "Age": _AGE,
    },
}  # fmt: skip
