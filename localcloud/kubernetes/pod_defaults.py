"""The values that the API server fills into pods and pod templates. Changes the given object in place."""

from typing import Any

from localcloud.kubernetes.objects import Object


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


def set_pod_defaults(item: Object) -> None:
    """Fills the defaults of a whole pod in."""
    spec = item.setdefault("spec", {})
    set_pod_spec_defaults(spec)
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


def set_pod_spec_defaults(spec: Object) -> None:
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
