"""A Kubernetes client from a ``ClusterAccess``: the official client, told which resources there are, so it need not ask."""

import tempfile
from pathlib import Path
from typing import Any

from kubernetes import client as kubernetes_client
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.resource import Resource

from deployer.ports import ClusterAccess

# What is applied, read and deleted: kind → (group and version, plural, namespaced).
_RESOURCES = {
    "Namespace": ("v1", "namespaces", False),
    "Node": ("v1", "nodes", False),
    "PersistentVolume": ("v1", "persistentvolumes", False),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims", True),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "ConfigMap": ("v1", "configmaps", True),
    "Secret": ("v1", "secrets", True),
    "Pod": ("v1", "pods", True),
    "Service": ("v1", "services", True),
    "Deployment": ("apps/v1", "deployments", True),
    "Job": ("batch/v1", "jobs", True),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets", True),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers", True),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "InferenceService": ("serving.kserve.io/v1beta1", "inferenceservices", True),
}


class _Known:
    """The client's discovery, answered from the table above: no requests, no cache file."""

    def __init__(self, client: Any, _cache_file: str | None) -> None:
        self._resources = {kind: _resource(client, kind, *found) for kind, found in _RESOURCES.items()}
        self.version: dict[str, Any] = {}

    def get(self, *, kind: str) -> Any:
        return self._resources[kind]


def connect(access: ClusterAccess) -> DynamicClient:
    """A client for this cluster. The token is asked for with each request, so that it may expire."""
    configuration = kubernetes_client.Configuration(host=access.server, retries=2)
    configuration.proxy = None  # the API server is reached directly, inside the virtual network
    configuration.verify_ssl = access.verify
    configuration.tls_server_name = access.server_name
    if access.authority is not None:
        configuration.ssl_ca_cert = _file(access.authority)
    if access.certificate is not None and access.key is not None:
        configuration.cert_file, configuration.key_file = _file(access.certificate), _file(access.key)
    if (token := access.token) is not None:

        def refresh(configuration: Any) -> None:
            configuration.api_key = {"BearerToken": token()}
            configuration.api_key_prefix = {"BearerToken": "Bearer"}

        refresh(configuration)
        configuration.refresh_api_key_hook = refresh
    return DynamicClient(kubernetes_client.ApiClient(configuration), discoverer=_Known)


def _resource(client: Any, kind: str, group_version: str, plural: str, namespaced: bool) -> Any:
    group, _, version = group_version.rpartition("/")
    return Resource(
        prefix="apis" if group else "api", group=group, api_version=version, kind=kind, namespaced=namespaced,
        verbs=["get", "list", "patch", "delete"], name=plural, client=client,
    )  # fmt: skip


def _file(content: bytes) -> str:
    """The client reads certificates from files only; these live as long as the process."""
    with tempfile.NamedTemporaryFile(prefix="slipway-", suffix=".pem", delete=False) as file:
        file.write(content)
    Path(file.name).chmod(0o600)
    return file.name
