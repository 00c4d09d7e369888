"""The rules that hold for everything Slipway applies. Pure: ``breaches`` names each rule that an object breaks."""

from collections.abc import Iterator, Mapping
from typing import Any

Manifest = Mapping[str, Any]

# What KServe adds to a pod's own fields in a predictor.
KSERVE_FIELDS = {"minReplicas", "maxReplicas", "deploymentStrategy"}
_HOST_FOLDERS = {"nvidia-device-plugin": {"/var/lib/kubelet/device-plugins"}}  # by DaemonSet
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def pod_of(manifest: Manifest) -> Manifest | None:
    """The pod that an object makes, if it makes one."""
    match manifest["kind"]:
        case "Deployment" | "DaemonSet" | "Job":
            pod: Manifest = manifest["spec"]["template"]["spec"]
            return pod
        case "InferenceService":
            predictor = manifest["spec"]["predictor"]
            return {key: value for key, value in predictor.items() if key not in KSERVE_FIELDS}
    return None


def breaches(manifest: Manifest) -> list[str]:
    """Each rule that the object breaks, in words; none if it may be applied."""
    found = [] if _managed(manifest) else ["does not say that slipway manages it"]
    match manifest["kind"]:
        case "Service":
            found += _service(manifest)
        case "NetworkPolicy":
            if set(manifest["spec"].get("policyTypes") or []) != {"Ingress", "Egress"}:
                found.append("leaves a direction open")
    if (pod := pod_of(manifest)) is not None:
        plugin = manifest["metadata"]["name"] if manifest["kind"] == "DaemonSet" else None
        found += _pod(pod, plugin, serves=manifest["kind"] not in ("DaemonSet", "Job"))
    return found


def _managed(manifest: Manifest) -> bool:
    return bool(manifest["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "slipway")


def _service(manifest: Manifest) -> Iterator[str]:
    internal = manifest["metadata"].get("annotations", {})
    if manifest["spec"]["type"] == "LoadBalancer" and (
        internal.get("service.beta.kubernetes.io/azure-load-balancer-internal") != "true"
    ):
        yield "is open to the internet"


def _pod(pod: Manifest, plugin: str | None, *, serves: bool) -> Iterator[str]:
    rules = pod.get("securityContext") or {}
    if rules.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "runs without seccomp"
    if plugin is None and not (rules.get("runAsNonRoot") and rules.get("runAsUser")):
        yield "may run as root"
    if pod.get("automountServiceAccountToken") is not False:
        yield "is given a token of the Kubernetes API"
    for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if pod.get(field):
            yield f"has {field}"
    for volume in pod.get("volumes") or []:
        path = (volume.get("hostPath") or {}).get("path")
        if path and path not in _HOST_FOLDERS.get(plugin or "", set()):
            yield f"mounts the host's {path}"
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        yield from _container(container, probed=serves and container in pod["containers"])


def _container(container: Manifest, *, probed: bool) -> Iterator[str]:
    image = container["image"].rpartition("/")[2]
    if "@sha256:" not in container["image"] and (":" not in image or image.endswith(":latest")):
        yield f"image {container['image']} may change by itself"
    resources = container.get("resources") or {}
    for name in ("cpu", "memory"):
        for side in ("requests", "limits"):
            if name not in (resources.get(side) or {}):
                yield f"{name} has no {side}"
    rules = container.get("securityContext") or {}
    if rules.get("privileged"):
        yield "is privileged"
    if rules.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if rules.get("readOnlyRootFilesystem") is not True:
        yield "writes to its root file system"
    if rules.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if probed:
        yield from (f"has no {probe}" for probe in _PROBES if probe not in container)
