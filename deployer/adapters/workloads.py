"""The Kubernetes objects of the namespace ``slipway``. Implements ``Workloads`` by server-side apply and by listing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from urllib3.exceptions import HTTPError

from deployer.adapters.kubernetes_client import connect
from deployer.errors import CloudRefused, ClusterUnreachable
from deployer.names import OPTIONS_ANNOTATION, stable_service, version_object
from deployer.ports import ClusterAccess, Nodes, PodFailure, Workload

NAMESPACE = "slipway"
FIELD_MANAGER = "slipway"
GPU = "nvidia.com/gpu"

_TIMEOUT = (5, 30)  # seconds to connect, to read
_OF_A_VERSION = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Deployment", "Service", "ConfigMap")
T = TypeVar("T")

_CRASHES = 3  # restarts after which waiting does not help


class KubernetesWorkloads:
    """One cluster's objects. ``access`` is asked on the first use, and again after the API server did not answer."""

    def __init__(self, access: Callable[[], ClusterAccess], *, gpu_pool: str) -> None:
        self._access = access
        self._gpu_pool = gpu_pool
        self._client: DynamicClient | None = None

    def nodes(self) -> Nodes:
        """The GPU pool's ready nodes, and the GPUs that no pod on them has claimed."""
        ready = [node for node in self._list("Node", labels=f"agentpool={self._gpu_pool}") if _ready(node)]
        names = {node["metadata"]["name"] for node in ready}
        gpus = sum(int(node["status"].get("allocatable", {}).get(GPU, 0)) for node in ready)
        if not ready:
            return Nodes(0, 0, 0)
        used = sum(_gpus(pod) for pod in self._list("Pod", namespace=None) if pod["spec"].get("nodeName") in names)
        return Nodes(len(ready), gpus, gpus - used)

    def of(self, model: str) -> tuple[Workload, ...]:
        """All versions of a model that have a Deployment."""
        labels = f"app={model}"
        deployments = self._list("Deployment", labels=labels)
        if not deployments:
            return ()
        pods = self._list("Pod", labels=labels)
        services = {service["metadata"]["name"]: service for service in self._list("Service", labels=labels)}
        return tuple(_workload(item, pods, services) for item in deployments)

    def selected(self, model: str) -> int | None:
        """The version that the stable Service selects."""
        service = self._get("Service", stable_service(model))
        return None if service is None else _number(service["spec"].get("selector", {}).get("version", ""))

    def apply(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Server-side apply, in order. Fields that others own are taken over: Slipway's word counts for its objects."""
        for manifest in manifests:
            name = manifest["metadata"]["name"]

            def applied(client: DynamicClient, body: Mapping[str, Any] = manifest, name: str = name) -> None:
                client.server_side_apply(
                    client.resources.get(kind=body["kind"]), body=dict(body), name=name,
                    namespace=body["metadata"].get("namespace"), field_manager=FIELD_MANAGER, force_conflicts=True,
                    _request_timeout=_TIMEOUT,
                )  # fmt: skip

            self._ask(f"apply {manifest['kind']} '{name}'", applied)

    def scale(self, model: str, version: int, replicas: int) -> None:
        """Sets a version's replicas; a version without a Deployment stays without."""
        name = version_object(model, version)

        def scaled(client: DynamicClient) -> None:
            with suppress(NotFoundError):
                client.patch(
                    client.resources.get(kind="Deployment"), body={"spec": {"replicas": replicas}}, name=name,
                    namespace=NAMESPACE, content_type="application/merge-patch+json", field_manager=FIELD_MANAGER,
                    _request_timeout=_TIMEOUT,
                )  # fmt: skip

        if replicas == 0:  # an autoscaler would bring it back
            self._delete("HorizontalPodAutoscaler", name)
        self._ask(f"scale '{name}' to {replicas}", scaled)

    def delete_version(self, model: str, version: int) -> None:
        """Deletes a version's objects, those that are there."""
        for kind in _OF_A_VERSION:
            self._delete(kind, version_object(model, version))

    def delete_model(self, model: str) -> None:
        """Deletes all of a model's objects."""
        for kind in _OF_A_VERSION:
            for item in self._list(kind, labels=f"app={model}"):
                self._delete(kind, item["metadata"]["name"])

    def _list(self, kind: str, *, labels: str | None = None, namespace: str | None = NAMESPACE) -> list[dict[str, Any]]:
        def listed(client: DynamicClient) -> list[dict[str, Any]]:
            resource = client.resources.get(kind=kind)
            found = client.get(
                resource, namespace=namespace if resource.namespaced else None, label_selector=labels,
                _request_timeout=_TIMEOUT,
            )  # fmt: skip
            items: list[dict[str, Any]] = found.to_dict()["items"]
            return items

        return self._ask(f"list {kind}s", listed)

    def _get(self, kind: str, name: str) -> dict[str, Any] | None:
        def got(client: DynamicClient) -> dict[str, Any] | None:
            try:
                found = client.get(
                    client.resources.get(kind=kind), name=name, namespace=NAMESPACE, _request_timeout=_TIMEOUT
                )
            except NotFoundError:
                return None
            body: dict[str, Any] = found.to_dict()
            return body

        return self._ask(f"get {kind} '{name}'", got)

    def _delete(self, kind: str, name: str) -> None:
        def deleted(client: DynamicClient) -> None:
            with suppress(NotFoundError):
                client.delete(
                    client.resources.get(kind=kind), name=name, namespace=NAMESPACE,
                    body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"},
                    _request_timeout=_TIMEOUT,
                )  # fmt: skip

        self._ask(f"delete {kind} '{name}'", deleted)

    def _ask(self, what: str, call: Callable[[DynamicClient], T]) -> T:
        try:
            if self._client is None:
                self._client = connect(self._access())
            return call(self._client)
        except ApiException as error:
            if error.status in (401, 403):
                self._client = None
            raise CloudRefused(
                f"kubernetes_{error.status}", f"Kubernetes did not {what}: {_message(error)}",
                "Check the rights of Slipway's identity on the cluster." if error.status in (401, 403) else "It is tried again.",
            ) from error  # fmt: skip
        except (HTTPError, OSError) as error:
            self._client = None  # after a stop and start the API server may have another address
            raise ClusterUnreachable("kubernetes_unreachable", f"The Kubernetes API did not {what}: {error}") from error


def _message(error: ApiException) -> str:
    return str(error.body or error.reason)


def _ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _gpus(pod: Mapping[str, Any]) -> int:
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    limits = (container.get("resources", {}).get("limits") or {} for container in pod["spec"]["containers"])
    return sum(int(limit.get(GPU, 0)) for limit in limits)


def _number(label: str) -> int | None:
    digits = label.removeprefix("v")
    return int(digits) if digits.isdigit() else None


def _workload(
    deployment: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], services: Mapping[str, Mapping[str, Any]]
) -> Workload:
    metadata, status = deployment["metadata"], deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    label = metadata["labels"]["version"]
    mine = [pod for pod in pods if pod["metadata"].get("labels", {}).get("version") == label]
    complete = (
        wanted > 0
        and status.get("observedGeneration", 0) >= metadata["generation"]
        and status.get("updatedReplicas", 0)
        == status.get("replicas", 0)
        == status.get("availableReplicas", 0)
        == wanted
    )
    failures = [failure for pod in mine if (failure := _failure(pod)) is not None]
    return Workload(
        version=_number(label) or 0, replicas=wanted, complete=complete, pods=len(mine),
        options=metadata.get("annotations", {}).get(OPTIONS_ANNOTATION, ""),
        failure=max(failures, key=lambda failure: failure.fatal, default=None),
        address=_address(services.get(metadata["name"])),
    )  # fmt: skip


def _address(service: Mapping[str, Any] | None) -> str | None:
    if service is None:
        return None
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    port = next((item["port"] for item in service["spec"]["ports"] if item["name"] == "http"), None)
    if not ingress or port is None:
        return None
    return f"http://{ingress[0].get('ip') or ingress[0]['hostname']}:{port}"


def _failure(pod: Mapping[str, Any]) -> PodFailure | None:
    """Why this pod is not ready, where its status says so."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
    status = pod.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return PodFailure(condition.get("reason", "Unschedulable"), condition.get("message", ""), fatal=False)
    for container in status.get("containerStatuses") or []:
        restarts = container.get("restartCount", 0)
        ended = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in ("ImagePullBackOff", "InvalidImageName"):
            return PodFailure(reason, waiting.get("message", ""), fatal=True)
        if reason == "ErrImagePull":
            return PodFailure(reason, waiting.get("message", ""), fatal=False)
        if ended and ended.get("exitCode"):
            message = ended.get("message") or f"exit status {ended['exitCode']}"
            return PodFailure(ended.get("reason") or reason or "Error", message.strip(), fatal=restarts >= _CRASHES)
    return None
