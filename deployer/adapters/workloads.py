"""The Kubernetes objects of the namespace ``slipway``. Implements ``Workloads`` by server-side apply and by listing.

A version is a Deployment, or with the flavor ``kserve`` an InferenceService (``deployer.adapters.kserve``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import starmap
from typing import Any, Literal, TypeVar

from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from urllib3.exceptions import HTTPError

from deployer.adapters import kserve
from deployer.adapters.jobs import job_state
from deployer.adapters.kubernetes_client import connect
from deployer.adapters.pods import GPU, gpus_of, number, pods_of, rolled_out, worst_failure
from deployer.errors import CloudRefused, ClusterUnreachable
from deployer.names import OPTIONS_ANNOTATION, stable_service, version_object
from deployer.ports import ClusterAccess, JobState, Nodes, Workload

NAMESPACE = "slipway"
FIELD_MANAGER = "slipway"

_TIMEOUT = (5, 30)  # seconds to connect, to read
_OF_A_VERSION = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Deployment", "Service", "ConfigMap")
Flavor = Literal["kubeflow", "kserve"]
T = TypeVar("T")


class KubernetesWorkloads:
    """One cluster's objects. ``access`` is asked on the first use, and again after the API server did not answer.

    ``gpu_nodes``: labels of the nodes for models on GPUs, where a value with commas in it means any of its parts; with none,
    each node that offers one counts.
    """

    def __init__(
        self, access: Callable[[], ClusterAccess], *, gpu_nodes: Mapping[str, str], flavor: Flavor = "kubeflow"
    ) -> None:
        self._access = access
        self._gpu_nodes = gpu_nodes
        self._kserve = flavor == "kserve"
        self._client: DynamicClient | None = None

    def nodes(self) -> Nodes:
        """The ready nodes for models on GPUs, and the GPUs that no pod on them has claimed."""
        labels = ",".join(starmap(_selects, self._gpu_nodes.items())) or None
        ready = [node for node in self._list("Node", labels=labels) if _ready(node) and (labels or _offered(node))]
        names = {node["metadata"]["name"] for node in ready}
        gpus = sum(map(_offered, ready))
        if not ready:
            return Nodes(0, 0, 0)
        used = sum(gpus_of(pod) for pod in self._list("Pod", namespace=None) if pod["spec"].get("nodeName") in names)
        return Nodes(len(ready), gpus, gpus - used)

    def of(self, model: str) -> tuple[Workload, ...]:
        """All versions of a model that have a Deployment or InferenceService."""
        labels = f"app={model}"
        deployments = self._list("Deployment", labels=labels)
        inferences = self._list("InferenceService", labels=labels) if self._kserve else []
        if not deployments and not inferences:
            return ()
        services = {service["metadata"]["name"]: service for service in self._list("Service", labels=labels)}
        found: dict[int, Workload] = {}
        if deployments:
            pods = self._list("Pod", labels=labels)
            for work in (_workload(item, pods, services) for item in deployments):
                # Of the other flavor, it must be applied anew, whatever its options.
                found[work.version] = replace(work, options="") if self._kserve else work
        if inferences:
            made = {item["metadata"]["name"]: item for item in self._list("Deployment", labels=kserve.label(model))}
            pods = self._list("Pod", labels=kserve.label(model))
            for item in inferences:
                name = item["metadata"]["name"]
                work = kserve.workload(item, made.get(kserve.predictor(name)), pods, _address(services.get(name)))
                found[work.version] = work
        return tuple(found.values())

    def selected(self, model: str) -> int | None:
        """The version that the stable Service selects."""
        service = self._get("Service", stable_service(model))
        return None if service is None else number(service["spec"].get("selector", {}).get("version", ""))

    def apply(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Server-side apply, in order. Fields that others own are taken over: Slipway's word counts for its objects."""
        for manifest in manifests:
            name = manifest["metadata"]["name"]
            if manifest["kind"] == "InferenceService":
                self._delete("Deployment", name)  # of the other flavor: it would go on holding its GPU

            def applied(client: DynamicClient, body: Mapping[str, Any] = manifest, name: str = name) -> None:
                client.server_side_apply(
                    client.resources.get(kind=body["kind"]), body=dict(body), name=name,
                    namespace=body["metadata"].get("namespace"), field_manager=FIELD_MANAGER, force_conflicts=True,
                    _request_timeout=_TIMEOUT,
                )  # fmt: skip

            self._ask(f"apply {manifest['kind']} '{name}'", applied)

    def scale(self, model: str, version: int, replicas: int) -> None:
        """Sets a version's replicas; a version that has no objects stays without."""
        name = version_object(model, version)
        if self._kserve:
            found = self._get("InferenceService", name)
            if found is not None and replicas == 0 and kserve.is_autoscaled(found):
                self._delete("InferenceService", name)
            else:
                self._patch("InferenceService", name, kserve.scaled(replicas), f"scale '{name}' to {replicas}")
            return
        if replicas == 0:  # an autoscaler would bring it back
            self._delete("HorizontalPodAutoscaler", name)
        self._patch("Deployment", name, {"spec": {"replicas": replicas}}, f"scale '{name}' to {replicas}")

    def delete_version(self, model: str, version: int) -> None:
        """Deletes a version's objects, those that are there."""
        for kind in self._kinds():
            self._delete(kind, version_object(model, version))

    def delete_model(self, model: str) -> None:
        """Deletes all of a model's objects."""
        for kind in (*self._kinds(), "Job"):
            for item in self._list(kind, labels=f"app={model}"):
                self._delete(kind, item["metadata"]["name"])

    def job(self, name: str) -> JobState | None:
        """The Job of this name, and what its pods say of themselves."""
        found = self._get("Job", name)
        return None if found is None else job_state(found, self._list("Pod", labels=f"job-name={name}"))

    def delete_job(self, name: str) -> None:
        """Deletes a Job and its pods, if it is there."""
        self._delete("Job", name)

    def _kinds(self) -> Sequence[str]:
        """The kinds of a version's objects, in the order in which they go."""
        return ("InferenceService", *_OF_A_VERSION) if self._kserve else _OF_A_VERSION

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

    def _patch(self, kind: str, name: str, body: Mapping[str, Any], what: str) -> None:
        def patched(client: DynamicClient) -> None:
            with suppress(NotFoundError):
                client.patch(
                    client.resources.get(kind=kind), body=dict(body), name=name, namespace=NAMESPACE,
                    content_type="application/merge-patch+json", field_manager=FIELD_MANAGER, _request_timeout=_TIMEOUT,
                )  # fmt: skip

        self._ask(what, patched)

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
            if error.status == 404 and "InferenceService" in what:
                raise CloudRefused(
                    "no_kserve", f"Kubernetes did not {what}: KServe is not installed on this cluster.",
                    "Install it, or set SLIPWAY_SERVING__FLAVOR=kubeflow.",
                ) from error  # fmt: skip
            raise CloudRefused(
                f"kubernetes_{error.status}", f"Kubernetes did not {what}: {_message(error)}",
                "Check the rights of Slipway's identity on the cluster." if error.status in (401, 403) else "It is tried again.",
            ) from error  # fmt: skip
        except (HTTPError, OSError) as error:
            self._client = None  # after a stop and start the API server may have another address
            raise ClusterUnreachable("kubernetes_unreachable", f"The Kubernetes API did not {what}: {error}") from error


def _selects(key: str, value: str) -> str:
    return f"{key} in ({value})" if "," in value else f"{key}={value}"


def _message(error: ApiException) -> str:
    return str(error.body or error.reason)


def _offered(node: Mapping[str, Any]) -> int:
    """The GPUs that a node has for pods."""
    return int(node.get("status", {}).get("allocatable", {}).get(GPU, 0))


def _ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _workload(
    deployment: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], services: Mapping[str, Mapping[str, Any]]
) -> Workload:
    metadata = deployment["metadata"]
    label = metadata["labels"]["version"]
    mine = pods_of(pods, label)
    return Workload(
        version=number(label) or 0, replicas=deployment["spec"].get("replicas", 1), complete=rolled_out(deployment),
        pods=len(mine), options=metadata.get("annotations", {}).get(OPTIONS_ANNOTATION, ""), failure=worst_failure(mine),
        address=_address(services.get(metadata["name"])),
    )  # fmt: skip


def _address(service: Mapping[str, Any] | None) -> str | None:
    if service is None:
        return None
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    port = next((item["port"] for item in service["spec"]["ports"] if item["name"] == "http"), None)
    if port is None:
        return None
    if service["spec"].get("type") == "ClusterIP":
        return f"http://{service['spec']['clusterIP']}:{port}"
    if not ingress:
        return None
    return f"http://{ingress[0].get('ip') or ingress[0]['hostname']}:{port}"
