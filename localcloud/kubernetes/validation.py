"""What the API server refuses, field by field, for the kinds and fields in use. Pure: returns causes."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from localcloud.kubernetes.errors import (
    Cause,
    duplicate,
    forbidden_field,
    not_found_field,
    required,
    unsupported,
    wrong,
)
from localcloud.kubernetes.names import label_fault, label_key_fault, label_value_fault, subdomain_fault
from localcloud.kubernetes.objects import Object, dig
from localcloud.kubernetes.quantities import parse_quantity
from localcloud.kubernetes.resources import Resource
from localcloud.kubernetes.selectors import match_labels

_LABEL_NAMED = ("Namespace", "Service")


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def validate(resource: Resource, item: Object) -> list[Cause]:
    """Returns the faults of a whole object, after defaulting."""
    causes = list(_metadata(resource, item["metadata"]))
    spec = item.get("spec") or {}
    match resource.kind:
        case "Deployment":
            causes += _deployment(spec)
        case "ReplicaSet" | "DaemonSet":
            causes += _workload(spec)
        case "Pod":
            causes += _pod(spec, "spec")
        case "Job":
            causes += _pod(spec["template"]["spec"], "spec.template.spec", restart=("OnFailure", "Never"))
        case "Service":
            causes += _service(item)
        case "HorizontalPodAutoscaler":
            causes += _autoscaler(spec)
        case "PersistentVolumeClaim":
            causes += _claim(spec)
        case _:
            pass
    return causes


def validate_change(resource: Resource, before: Object, after: Object) -> list[Cause]:
    """Returns the faults of a change: fields that may not change."""
    causes: list[Cause] = []
    for field in ("uid", "creationTimestamp"):
        if after["metadata"].get(field) != before["metadata"].get(field):
            causes.append(wrong(f"metadata.{field}", _json(after["metadata"].get(field)), "field is immutable"))
    if "deletionTimestamp" in before["metadata"]:
        old, new = (set(item["metadata"].get("finalizers") or []) for item in (before, after))
        if new - old:
            listed = ", ".join(_json(name) for name in sorted(new - old))
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            causes.append(forbidden_field("metadata.finalizers", why))
    match resource.kind:
        case "Deployment" | "ReplicaSet" | "DaemonSet":
            causes += _immutable(before, after, "spec.selector")
        case "Job":
            causes += _immutable(before, after, "spec.template")
        case "ConfigMap" | "Secret" if before.get("immutable"):
            for field in ("data", "binaryData"):
                if before.get(field) != after.get(field):
                    causes.append(forbidden_field(field, "field is immutable when `immutable` is set"))
        case "Service" if after["spec"]["type"] != "ExternalName":
            if before["spec"].get("clusterIP") != after["spec"].get("clusterIP"):
                value = _json(after["spec"].get("clusterIPs"))
                causes.append(wrong("spec.clusterIPs[0]", value, "may not change once set"))
        case "PersistentVolume":
            if dig(before, "spec", "csi") != dig(after, "spec", "csi"):
                why = "spec.persistentvolumesource is immutable after creation"
                causes.append(forbidden_field("spec.persistentvolumesource", why))
        case "PersistentVolumeClaim":
            fixed = [{k: v for k, v in item["spec"].items() if k != "resources"} for item in (before, after)]
            if fixed[0] != fixed[1] and before["spec"].get("volumeName"):
                why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
                causes.append(forbidden_field("spec", why))
        case _:
            pass
    return causes


def _immutable(before: Object, after: Object, path: str) -> Iterator[Cause]:
    steps = path.split(".")
    if dig(before, *steps) != dig(after, *steps):
        yield wrong(path, _json(dig(after, *steps)), "field is immutable")


def _metadata(resource: Resource, metadata: Object) -> Iterator[Cause]:
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        fault = label_fault(name) if resource.kind in _LABEL_NAMED else subdomain_fault(name)
        if fault:
            yield wrong("metadata.name", _json(name), fault)
    yield from _labels(metadata.get("labels"), "metadata.labels")
    for key in metadata.get("annotations") or {}:
        if fault := label_key_fault(key.lower()):
            yield wrong("metadata.annotations", _json(key), fault)


def _labels(labels: Object | None, path: str) -> Iterator[Cause]:
    for key, value in (labels or {}).items():
        if fault := label_key_fault(key):
            yield wrong(path, _json(key), fault)
        if fault := label_value_fault(value):
            yield wrong(path, _json(value), fault)


def _deployment(spec: Object) -> Iterator[Cause]:
    yield from _not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from _selector(spec)
    yield from _template(spec)
    yield from _strategy(spec.get("strategy") or {})
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if deadline is not None and deadline <= ready:
        yield wrong("spec.progressDeadlineSeconds", str(deadline), "must be greater than minReadySeconds")


def _workload(spec: Object) -> Iterator[Cause]:
    yield from _not_negative(spec, "replicas", "minReadySeconds")
    yield from _selector(spec)
    yield from _template(spec)


def _not_negative(spec: Object, *fields: str) -> Iterator[Cause]:
    for field in fields:
        if spec.get(field, 0) < 0:
            yield wrong(f"spec.{field}", str(spec[field]), "must be greater than or equal to 0")


def _selector(spec: Object) -> Iterator[Cause]:
    if "selector" not in spec:
        yield required("spec.selector")
    elif not spec["selector"]:
        yield wrong("spec.selector", "{}", "empty selector is invalid for deployment")


def _template(spec: Object) -> Iterator[Cause]:
    labels = spec["template"]["metadata"].get("labels") or {}
    yield from _labels(labels, "spec.template.labels")
    if not match_labels(spec.get("selector"), labels):
        yield wrong("spec.template.metadata.labels", _json(labels), "`selector` does not match template `labels`")
    yield from _pod(spec["template"]["spec"], "spec.template.spec", restart=("Always",))


def _strategy(strategy: Object) -> Iterator[Cause]:
    path, rolling = "spec.strategy", strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                why = "may not be specified when strategy `type` is 'Recreate'"
                yield forbidden_field(f"{path}.rollingUpdate", why)
        case "RollingUpdate":
            surge, unavailable = (rolling or {}).get("maxSurge"), (rolling or {}).get("maxUnavailable")
            if surge in (0, "0%") and unavailable in (0, "0%"):
                yield wrong(
                    f"{path}.rollingUpdate.maxUnavailable", _json(unavailable), "may not be 0 when `maxSurge` is 0"
                )
        case other:
            yield unsupported(f"{path}.type", _json(other), "Recreate", "RollingUpdate")


def _pod(spec: Object, path: str, restart: tuple[str, ...] = ("Always", "OnFailure", "Never")) -> Iterator[Cause]:
    if spec.get("restartPolicy") not in restart:
        yield unsupported(f"{path}.restartPolicy", _json(spec.get("restartPolicy")), *restart)
    volumes: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or []):
        name = volume.get("name", "")
        if not name:
            yield required(f"{path}.volumes[{index}].name")
        elif name in volumes:
            yield duplicate(f"{path}.volumes[{index}].name", _json(name))
        volumes.add(name)
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    for field in ("initContainers", "containers"):
        seen: set[str] = set()
        for index, container in enumerate(spec.get(field) or []):
            here = f"{path}.{field}[{index}]"
            name = container.get("name", "")
            if not name:
                yield required(f"{here}.name")
            elif fault := label_fault(name):
                yield wrong(f"{here}.name", _json(name), fault)
            elif name in seen:
                yield duplicate(f"{here}.name", _json(name))
            seen.add(name)
            yield from _container(container, here, volumes)


def _container(container: Object, path: str, volumes: set[str]) -> Iterator[Cause]:
    if not container.get("image"):
        yield required(f"{path}.image")
    names: set[str] = set()
    for index, port in enumerate(container.get("ports") or []):
        number = port.get("containerPort", 0)
        name = port.get("name")
        if name and name in names:
            yield duplicate(f"{path}.ports[{index}].name", _json(name))
        names.add(name or "")
        if not 1 <= number <= 65535:
            yield wrong(f"{path}.ports[{index}].containerPort", str(number), "must be between 1 and 65535, inclusive")
    for index, mount in enumerate(container.get("volumeMounts") or []):
        if mount.get("name") not in volumes:
            yield not_found_field(f"{path}.volumeMounts[{index}].name", _json(mount.get("name", "")))
        if not mount.get("mountPath"):
            yield required(f"{path}.volumeMounts[{index}].mountPath")
    yield from _resources(container.get("resources") or {}, f"{path}.resources")


def _resources(resources: Object, path: str) -> Iterator[Cause]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if _is_extended(name) and parse_quantity(amount) % 1 != Decimal(0):
                yield wrong(f"{path}.{part}[{name}]", _json(amount), "must be an integer")
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None and _is_extended(name):
            yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif limit is not None and _is_extended(name) and parse_quantity(limit) != parse_quantity(amount):
            yield wrong(f"{path}.requests", _json(amount), f"must be equal to {name} limit of {limit}")
        elif limit is not None and parse_quantity(amount) > parse_quantity(limit):
            yield wrong(f"{path}.requests", _json(amount), f"must be less than or equal to {name} limit of {limit}")


def _is_extended(name: str) -> bool:
    return "/" in name and not name.partition("/")[0].endswith("kubernetes.io")


def _service(item: Object) -> Iterator[Cause]:
    spec, ports = item["spec"], item["spec"].get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec["type"] != "ExternalName":
        yield required("spec.ports")
    names: set[str] = set()
    keys: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        here, name = f"spec.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            yield required(f"{here}.name")
        elif name and name in names:
            yield duplicate(f"{here}.name", _json(name))
        names.add(name)
        number = port.get("port", 0)
        if not 1 <= number <= 65535:
            yield wrong(f"{here}.port", str(number), "must be between 1 and 65535, inclusive")
        if (number, port["protocol"]) in keys:
            shown = {
                "Name": "", "Protocol": port["protocol"], "AppProtocol": None, "Port": number, "TargetPort": 0,
                "NodePort": 0,
            }  # fmt: skip
            yield duplicate(here, _json(shown))
        keys.add((number, port["protocol"]))
    if dig(item, "status", "loadBalancer", "ingress") and spec["type"] != "LoadBalancer":
        yield forbidden_field("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'")


def _autoscaler(spec: Object) -> Iterator[Cause]:
    low, high = spec.get("minReplicas", 1), spec.get("maxReplicas", 0)
    if low < 1:
        yield wrong("spec.minReplicas", str(low), "must be greater than or equal to 1")
        if not any(metric.get("type") in ("Object", "External") for metric in spec.get("metrics") or []):
            why = "must specify at least one Object or External metric to support scaling to zero replicas"
            yield forbidden_field("spec.metrics", why)
    if high < 1:
        yield wrong("spec.maxReplicas", str(high), "must be greater than 0")
    if high < low:
        yield wrong("spec.maxReplicas", str(high), "must be greater than or equal to `minReplicas`")


def _claim(spec: Object) -> Iterator[Cause]:
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if not dig(spec, "resources", "requests", "storage"):
        yield required("spec.resources[storage]")
