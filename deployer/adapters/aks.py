"""The managed cluster through Azure Resource Manager. Implements ``Cluster`` and gives access to the Kubernetes API.

Long operations are begun and left: their continuation token goes into the state container, and a later step, in whatever
process, looks at them again. Nothing here waits for one.
"""

import base64
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.polling import LROPoller
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool, ManagedCluster
from azure.mgmt.core.polling.arm_polling import ARMPolling

from deployer.errors import CloudRefused, SlipwayError
from deployer.ports import ClusterAccess, ClusterState, OperationState, Power
from deployer.settings import ClusterSettings

# The Entra application of every AKS cluster's API server.
_AKS_SERVER = "6dae42f8-4368-4678-94ff-3960e28e3630"
_OWNED = "slipway"  # tag of pools and clusters that the idle ladder may take down: "owned"
_MAY_DELETE = "slipway-may-delete"  # tag of a cluster that it may delete: the cluster's own name
_TIMEOUTS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 60, "retry_total": 3}


class _LoopbackBearer(BearerTokenCredentialPolicy[Any, Any]):
    """Sends the token over plain http: for an address that never leaves this machine, and for no other."""

    def on_request(self, request: PipelineRequest[Any]) -> None:
        request.context["enforce_https"] = False
        super().on_request(request)


class _Unattended(ARMPolling):
    """A poller that is begun and left; ``update_status`` looks once."""

    def run(self) -> None:
        """Does not wait: a later step looks again."""


def container_service(settings: ClusterSettings, credential: TokenCredential) -> ContainerServiceClient:
    """The SDK's client for the configured Azure.

    Raises:
        SlipwayError: ``bad_setting``, where a token would travel over plain http to another machine.
    """
    url = urlsplit(settings.arm_url)
    scope = f"{settings.arm_audience}/.default"
    policy: dict[str, Any] = {}
    if url.scheme != "https":
        if not _loopback(url.hostname or ""):
            raise SlipwayError(
                "bad_setting", f"SLIPWAY_CLUSTER__ARM_URL is {settings.arm_url}: a token must not travel over plain http.",
                "Use an https address.",
            )  # fmt: skip
        policy["authentication_policy"] = _LoopbackBearer(credential, scope)
    return ContainerServiceClient(
        credential, settings.subscription_id, settings.arm_url, credential_scopes=[scope], **policy, **_TIMEOUTS
    )


def _loopback(host: str) -> bool:
    """Whether this is an address of this machine: a name, whatever it looks like, may lead anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AksCluster:
    """One managed cluster and its GPU pool. Implements ``Cluster``."""

    def __init__(self, client: ContainerServiceClient, settings: ClusterSettings, credential: TokenCredential) -> None:
        self._client = client
        self._group = settings.resource_group
        self._name = settings.name
        self._pool = settings.gpu_pool
        self._credential = credential

    def state(self) -> ClusterState:
        """Power, pool size, and whether an operation is under way on either."""
        with _named(f"look at cluster '{self._name}'"):
            cluster = self._client.managed_clusters.get(self._group, self._name)
            pool = self._client.agent_pools.get(self._group, self._name, self._pool)
        power: Power = "Stopped" if cluster.power_state and cluster.power_state.code == "Stopped" else "Running"
        states = (cluster.provisioning_state or "Succeeded", pool.provisioning_state or "Succeeded")
        under_way = next((state for state in states if state not in ("Succeeded", "Failed", "Canceled")), None)
        return ClusterState(
            power, under_way is not None, pool.count or 0, under_way or states[0], pool_size=pool.vm_size or "",
            pool_mode=str(pool.mode or ""), pool_owned=_owned(pool.tags), owned=_owned(cluster.tags),
            may_delete=(cluster.tags or {}).get(_MAY_DELETE) == self._name, others=_others(cluster, self._pool),
        )  # fmt: skip

    def begin_start(self) -> str:
        """Starts the stopped cluster."""
        with _named(f"start cluster '{self._name}'"):
            return _token(self._client.managed_clusters.begin_start(self._group, self._name, polling=_Unattended()))

    def begin_stop(self) -> str:
        """Stops the running cluster."""
        with _named(f"stop cluster '{self._name}'"):
            return _token(self._client.managed_clusters.begin_stop(self._group, self._name, polling=_Unattended()))

    def begin_pool(self, count: int) -> str:
        """Sets the GPU pool's node count; the pool's autoscaler is switched off, for it would undo this."""
        with _named(f"scale pool '{self._pool}' to {count}"):
            pool = self._client.agent_pools.get(self._group, self._name, self._pool)
            pool.count = count
            pool.enable_auto_scaling = False
            pool.min_count = pool.max_count = None
            return _token(
                self._client.agent_pools.begin_create_or_update(
                    self._group, self._name, self._pool, pool, polling=_Unattended()
                )
            )

    def begin_delete(self) -> str:
        """Deletes the cluster."""
        with _named(f"delete cluster '{self._name}'"):
            return _token(self._client.managed_clusters.begin_delete(self._group, self._name, polling=_Unattended()))

    def operation(self, kind: Literal["start", "stop", "pool", "delete"], token: str) -> OperationState:
        """Looks once at the operation that the token resumes."""
        method: ARMPolling = _Unattended()
        with _named(f"look at the operation '{kind}'"):
            resume: dict[str, Any] = {"polling": method, "continuation_token": token}
            clusters, pools = self._client.managed_clusters, self._client.agent_pools
            match kind:
                case "start":
                    clusters.begin_start(self._group, self._name, **resume)
                case "stop":
                    clusters.begin_stop(self._group, self._name, **resume)
                case "delete":
                    clusters.begin_delete(self._group, self._name, **resume)
                case "pool":
                    pools.begin_create_or_update(self._group, self._name, self._pool, AgentPool(), **resume)
            if not method.finished():
                try:
                    method.update_status()
                except ResourceNotFoundError:  # Azure forgets an operation after some days: the cluster's state tells
                    return OperationState(running=False)
            if not method.finished():
                return OperationState(running=True)
            failed = method.status().lower() != "succeeded"
            return OperationState(running=False, failure=_failure(method) if failed else None)

    def access(self) -> ClusterAccess:
        """How to reach the Kubernetes API: as the user credentials say, with an Entra token where they ask for one."""
        with _named(f"get the credentials of cluster '{self._name}'"):
            found = self._client.managed_clusters.list_cluster_user_credentials(self._group, self._name, format="exec")
        if not found.kubeconfigs or found.kubeconfigs[0].value is None:
            raise CloudRefused("no_credentials", f"Azure gave no credentials for cluster '{self._name}'.", "")
        return _access(yaml.safe_load(bytes(found.kubeconfigs[0].value)), self._entra_token)

    def _entra_token(self) -> str:
        return self._credential.get_token(f"{_AKS_SERVER}/.default").token


def _owned(tags: Mapping[str, str] | None) -> bool:
    return (tags or {}).get(_OWNED) == "owned"


def _others(cluster: ManagedCluster, pool: str) -> dict[str, int]:
    """Nodes of the cluster's other pools, by VM size."""
    nodes: dict[str, int] = {}
    for profile in cluster.agent_pool_profiles or []:
        if profile.name != pool and profile.vm_size:
            nodes[profile.vm_size] = nodes.get(profile.vm_size, 0) + (profile.count or 0)
    return nodes


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turns what the SDK raises into an error that names what was attempted, with Azure's own code and message."""
    try:
        yield
    except HttpResponseError as error:
        code = error.error.code if error.error and error.error.code else f"http_{error.status_code}"
        raise CloudRefused(code, f"Azure did not {what}: {error.message}", "It is tried again.") from error
    except AzureError as error:
        raise CloudRefused("azure_unreachable", f"Azure did not {what}: {error}", "It is tried again.") from error


def _token(poller: LROPoller[Any]) -> str:
    return str(poller.continuation_token())


def _failure(method: ARMPolling) -> str:
    """Azure's words for why an operation failed."""
    body = method._pipeline_response.http_response.json()
    error = body.get("error") or {}
    return f"{error.get('code', method.status())}: {error.get('message', 'Azure gave no reason')}"


def _access(kubeconfig: dict[str, Any], entra_token: Callable[[], str]) -> ClusterAccess:
    """Reads a kubeconfig of one cluster and one user; an exec plugin (kubelogin) stands for an Entra token."""
    cluster = kubeconfig["clusters"][0]["cluster"]
    user = kubeconfig["users"][0]["user"]
    authority = cluster.get("certificate-authority-data")
    server, ca = cluster["server"], base64.b64decode(authority) if authority else None
    if "exec" in user:
        return ClusterAccess(server, ca, token=entra_token)
    if "client-certificate-data" in user:
        return ClusterAccess(
            server, ca, certificate=base64.b64decode(user["client-certificate-data"]),
            key=base64.b64decode(user["client-key-data"]),
        )  # fmt: skip
    token = user["token"]
    return ClusterAccess(server, ca, token=lambda: str(token))
