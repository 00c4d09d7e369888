"""The columns of ``kubectl get``, kind by kind, and what stands in them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from localcloud.kubernetes.objects import Object, dig, is_terminating, is_true, labels_of, parse_time

Cell = str | int
Row = Callable[[Object], list[Cell]]


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


def _since(text: str | None) -> str:
    return human_duration((datetime.now(UTC) - parse_time(text)).total_seconds()) if text else "<unknown>"


def _age(item: Object) -> str:
    return _since(item["metadata"].get("creationTimestamp"))


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _joined(values: list[str]) -> str:
    return ",".join(values) or "<none>"


def _selector(selector: Object | None) -> str:
    return _joined([f"{k}={v}" for k, v in sorted(((selector or {}).get("matchLabels") or {}).items())])


def _containers(item: Object) -> list[Cell]:
    containers = dig(item, "spec", "template", "spec", "containers") or []
    return [_joined([c["name"] for c in containers]), _joined([c.get("image", "") for c in containers])]


def _status(item: Object, *fields: str) -> list[Cell]:
    return [dig(item, "status", field) or 0 for field in fields]


def pod_status(pod: Object) -> str:
    """Returns the STATUS column of a pod: its phase, or why a container is not running."""
    status = pod.get("status") or {}
    text = str(status.get("reason") or status.get("phase", "Unknown"))
    for entry in status.get("initContainerStatuses") or []:
        state = entry.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason") or (state.get("terminated") or {}).get("reason")
        if reason and reason not in ("Completed", "PodInitializing"):
            return f"Init:{reason}"
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


def _pod(pod: Object) -> list[Cell]:
    statuses = dig(pod, "status", "containerStatuses") or []
    ready = sum(1 for entry in statuses if entry.get("ready"))
    restarts: Cell = sum(entry.get("restartCount", 0) for entry in statuses)
    ended = [dig(entry, "lastState", "terminated", "finishedAt") for entry in statuses]
    latest = max((moment for moment in ended if moment), default=None)
    if restarts and latest:
        restarts = f"{restarts} ({_since(latest)} ago)"
    return [
        _name(pod), f"{ready}/{len(pod['spec']['containers'])}", pod_status(pod), restarts, _age(pod),
        dig(pod, "status", "podIP") or "<none>", dig(pod, "spec", "nodeName") or "<none>", "<none>", "<none>",
    ]  # fmt: skip


def _deployment(item: Object) -> list[Cell]:
    ready, updated, available = _status(item, "readyReplicas", "updatedReplicas", "availableReplicas")
    wanted = item["spec"].get("replicas", 0)
    return [
        _name(item), f"{ready}/{wanted}", updated, available, _age(item), *_containers(item),
        _selector(item["spec"].get("selector")),
    ]  # fmt: skip


def _replica_set(item: Object) -> list[Cell]:
    current, ready = _status(item, "replicas", "readyReplicas")
    spec = item["spec"]
    return [
        _name(item), spec.get("replicas", 0), current, ready, _age(item), *_containers(item),
        _selector(spec.get("selector")),
    ]  # fmt: skip


def _daemon_set(item: Object) -> list[Cell]:
    fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    nodes = _joined([f"{k}={v}" for k, v in (dig(item, "spec", "template", "spec", "nodeSelector") or {}).items()])
    return [_name(item), *_status(item, *fields, "numberAvailable"), nodes, _age(item), *_containers(item)]


def _job(item: Object) -> list[Cell]:
    spec, status = item["spec"], item.get("status") or {}
    text = "Complete" if is_true(item, "Complete") else "Failed" if is_true(item, "Failed") else "Running"
    duration = ""
    if status.get("startTime"):
        end = parse_time(status["completionTime"]) if status.get("completionTime") else datetime.now(UTC)
        duration = human_duration((end - parse_time(status["startTime"])).total_seconds())
    done = f"{status.get('succeeded', 0)}/{spec.get('completions', 1)}"
    return [_name(item), text, done, duration, _age(item), *_containers(item)]


def _node(item: Object) -> list[Cell]:
    status = "Ready" if is_true(item, "Ready") else "NotReady"
    if item["spec"].get("unschedulable"):
        status += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = _joined(sorted(label.removeprefix(prefix) for label in labels_of(item) if label.startswith(prefix)))
    addresses = {entry["type"]: entry["address"] for entry in dig(item, "status", "addresses") or []}
    info = dig(item, "status", "nodeInfo") or {}
    return [
        _name(item), status, roles, _age(item), info.get("kubeletVersion", ""), addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"), info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>", info.get("containerRuntimeVersion") or "<unknown>",
    ]  # fmt: skip


def _service(item: Object) -> list[Cell]:
    spec = item["spec"]
    ingress = [entry.get("ip", "") for entry in dig(item, "status", "loadBalancer", "ingress") or []]
    external = _joined(ingress) if ingress else "<pending>" if spec["type"] == "LoadBalancer" else "<none>"
    ports = [
        f"{p['port']}:{p['nodePort']}/{p['protocol']}" if p.get("nodePort") else f"{p['port']}/{p['protocol']}"
        for p in spec.get("ports") or []
    ]
    return [
        _name(item), spec["type"], spec.get("clusterIP") or "<none>", external, _joined(ports), _age(item),
        _selector({"matchLabels": spec.get("selector")}),
    ]  # fmt: skip


def _endpoints(item: Object) -> list[Cell]:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in item.get("subsets") or []
        for address in subset.get("addresses") or []
        for port in subset.get("ports") or []
    ]
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return [_name(item), _joined(found[:3]) + more, _age(item)]


def _endpoint_slice(item: Object) -> list[Cell]:
    ports = [str(port.get("port", "")) for port in item.get("ports") or []]
    found = [address for entry in item.get("endpoints") or [] for address in entry["addresses"]]
    return [_name(item), item["addressType"], _joined(ports).replace("<none>", "<unset>"), _joined(found), _age(item)]


_MODES = {"ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOnce": "RWO", "ReadWriteOncePod": "RWOP"}


def _modes(item: Object) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in item["spec"].get("accessModes") or [])


def _volume(item: Object) -> list[Cell]:
    spec = item["spec"]
    claim = spec.get("claimRef") or {}
    bound = f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""
    return [
        _name(item), (spec.get("capacity") or {}).get("storage", ""), _modes(item), spec["persistentVolumeReclaimPolicy"],
        "Terminating" if is_terminating(item) else dig(item, "status", "phase") or "", bound,
        spec.get("storageClassName", ""), spec.get("volumeAttributesClassName") or "<unset>",
        dig(item, "status", "reason") or "", _age(item), spec.get("volumeMode", ""),
    ]  # fmt: skip


def _claim(item: Object) -> list[Cell]:
    spec = item["spec"]
    return [
        _name(item), "Terminating" if is_terminating(item) else dig(item, "status", "phase") or "",
        spec.get("volumeName", ""), dig(item, "status", "capacity", "storage") or "", _modes(item),
        spec.get("storageClassName") or "", spec.get("volumeAttributesClassName") or "<unset>", _age(item),
        spec.get("volumeMode", ""),
    ]  # fmt: skip


def _event(item: Object) -> list[Cell]:
    about = item.get("involvedObject") or {}
    seen = item.get("lastTimestamp") or item.get("eventTime") or item["metadata"].get("creationTimestamp")
    first = item.get("firstTimestamp") or seen
    source = (item.get("source") or {}).get("component", "")
    return [
        _since(seen), item.get("type", ""), item.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}", about.get("fieldPath", ""), source,
        str(item.get("message", "")).strip(), _since(first), item.get("count", 1), _name(item),
    ]  # fmt: skip


def _budget(item: Object) -> list[Cell]:
    spec = item["spec"]
    least, most = spec.get("minAvailable", "N/A"), spec.get("maxUnavailable", "N/A")
    return [_name(item), str(least), str(most), *_status(item, "disruptionsAllowed"), _age(item)]


def _autoscaler(item: Object) -> list[Cell]:
    spec = item["spec"]
    target = f"{spec['scaleTargetRef']['kind']}/{spec['scaleTargetRef']['name']}"
    wishes = []
    for metric in spec.get("metrics") or []:
        wanted: Any = dig(metric, "resource", "target", "averageUtilization")
        wishes.append(f"{dig(metric, 'resource', 'name') or metric['type']}: <unknown>/{wanted}%")
    low, high = spec.get("minReplicas", 1), spec["maxReplicas"]
    return [_name(item), target, _joined(wishes), str(low), str(high), *_status(item, "currentReplicas"), _age(item)]


NUMBERS = frozenset(
    {
        "Up-to-date",
        "Available",
        "Desired",
        "Current",
        "Ready-count",
        "Allowed disruptions",
        "Replicas",
        "Secrets",
        "Count",
    }
)
_WORKLOAD = ("Containers|wide", "Images|wide")

PLAIN: tuple[tuple[str, ...], Row] = (("Name", "Created At"), lambda o: [_name(o), o["metadata"]["creationTimestamp"]])
COLUMNS: dict[str, tuple[tuple[str, ...], Row]] = {
    "Pod": (
        ("Name", "Ready", "Status", "Restarts", "Age", "IP|wide", "Node|wide", "Nominated Node|wide",
         "Readiness Gates|wide"), _pod,
    ),
    "Deployment": (
        ("Name", "Ready", "Up-to-date", "Available", "Age", *_WORKLOAD, "Selector|wide"), _deployment,
    ),
    "ReplicaSet": (("Name", "Desired", "Current", "Ready", "Age", *_WORKLOAD, "Selector|wide"), _replica_set),
    "DaemonSet": (
        ("Name", "Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age", *_WORKLOAD),
        _daemon_set,
    ),
    "Job": (("Name", "Status", "Completions", "Duration", "Age", *_WORKLOAD), _job),
    "Node": (
        ("Name", "Status", "Roles", "Age", "Version", "Internal-IP|wide", "External-IP|wide", "OS-Image|wide",
         "Kernel-Version|wide", "Container-Runtime|wide"), _node,
    ),
    "Service": (("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector|wide"), _service),
    "Endpoints": (("Name", "Endpoints", "Age"), _endpoints),
    "EndpointSlice": (("Name", "AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice),
    "PersistentVolume": (
        ("Name", "Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass",
         "VolumeAttributesClass", "Reason", "Age", "VolumeMode|wide"), _volume,
    ),
    "PersistentVolumeClaim": (
        ("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age",
         "VolumeMode|wide"), _claim,
    ),
    "Event": (
        ("Last Seen", "Type", "Reason", "Object", "Subobject|wide", "Source|wide", "Message", "First Seen|wide",
         "Count|wide", "Name|wide"), _event,
    ),
    "Namespace": (("Name", "Status", "Age"), lambda o: [_name(o), dig(o, "status", "phase") or "", _age(o)]),
    "ConfigMap": (
        ("Name", "Data", "Age"),
        lambda o: [_name(o), len(o.get("data") or {}) + len(o.get("binaryData") or {}), _age(o)],
    ),
    "Secret": (
        ("Name", "Type", "Data", "Age"), lambda o: [_name(o), o.get("type", ""), len(o.get("data") or {}), _age(o)],
    ),
    "ServiceAccount": (("Name", "Secrets", "Age"), lambda o: [_name(o), len(o.get("secrets") or []), _age(o)]),
    "PodDisruptionBudget": (
        ("Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"), _budget,
    ),
    "HorizontalPodAutoscaler": (
        ("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"), _autoscaler,
    ),
    "NetworkPolicy": (
        ("Name", "Pod-Selector", "Age"), lambda o: [_name(o), _selector(dig(o, "spec", "podSelector")), _age(o)],
    ),
    "InferenceService": (
        ("Name", "URL", "Ready", "Age"),
        lambda o: [_name(o), dig(o, "status", "url") or "", "True" if is_true(o, "Ready") else "False", _age(o)],
    ),
    "Lease": (("Name", "Holder", "Age"), lambda o: [_name(o), dig(o, "spec", "holderIdentity") or "", _age(o)]),
}  # fmt: skip
