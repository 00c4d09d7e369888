"""The managed cluster through Azure Resource Manager. Implements ``Cluster`` and gives access to the Kubernetes API.

Long operations are begun and left: their continuation token goes into the state container, and a later step, in whatever
process, looks at them again. Nothing here waits for one, and no call takes longer than its `Patience`.
"""

import binascii
import ipaddress
import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlsplit

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import BadResponse, BadStatus
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool, CredentialResult, ManagedCluster
from azure.mgmt.core.polling.arm_polling import ARMPolling

from deployer.adapters import kubeconfig
from deployer.adapters.azure_errors import failure_of, named
from deployer.adapters.azure_pipeline import LoopbackBearer, Patience
from deployer.errors import AzureRefused, SlipwayError
from deployer.ports import ClusterAccess, ClusterState, OperationKind, OperationState, Power
from deployer.settings import ClusterSettings

# A lost answer to a request that begins something is not asked for again: what it began is seen at the next look.
_ONCE: dict[str, Any] = {"retry_read": 0}
_LOST = (
    "azure_operation_lost: The token of the operation '{kind}' cannot be read any more, so its end cannot be seen. "
    "It is begun anew if the cluster shows that it is needed."
)
_log = logging.getLogger(__name__)
_OWNED = "slipway"  # tag of pools and clusters that the idle ladder may take down: "owned"
_MAY_DELETE = "slipway-may-delete"  # tag of a cluster that it may delete: the cluster's own name


class _Unattended(ARMPolling):
    """A poller that is begun and left; ``update_status`` looks once."""

    def run(self) -> None:
        """Does not wait: a later step looks again."""


def container_service(
    settings: ClusterSettings, credential: TokenCredential, patience: Patience | None = None
) -> ContainerServiceClient:
    """The SDK's client for the configured Azure; ``patience`` bounds its calls.

    Raises:
        SlipwayError: ``bad_setting``, where a token would travel over plain http to another machine.
    """
    url = urlsplit(settings.arm_url)
    scope = f"{settings.arm_audience}/.default"
    options = (patience or Patience()).options
    if url.scheme != "https":
        if not _loopback(url.hostname or ""):
            raise SlipwayError(
                "bad_setting", f"SLIPWAY_CLUSTER__ARM_URL is {settings.arm_url}: a token must not travel over plain http.",
                "Use an https address.",
            )  # fmt: skip
        options["authentication_policy"] = LoopbackBearer(credential, scope)
    return ContainerServiceClient(
        credential, settings.subscription_id, settings.arm_url, credential_scopes=[scope], **options
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
        self._pools = settings.gpu_pools
        self._credential = credential

    def state(self) -> ClusterState:
        """Power, pool size, and whether an operation is under way on either. A failed state of either is its provisioning."""
        with named(f"look at cluster '{self._name}'"):
            cluster = self._client.managed_clusters.get(self._group, self._name)
        pool, others = self._up()
        power: Power = "Stopped" if cluster.power_state and cluster.power_state.code == "Stopped" else "Running"
        states = (
            cluster.provisioning_state or "Succeeded",
            pool.provisioning_state or "Succeeded",
            *(state for each in others if _under_way(state := each.provisioning_state or "Succeeded")),
        )
        under_way = next((state for state in states if _under_way(state)), None)
        shown = under_way or next((state for state in states if state != "Succeeded"), "Succeeded")
        return ClusterState(
            power, under_way is not None, pool.count or 0, shown, pool_size=pool.vm_size or "",
            pool_mode=_text(pool.mode), pool_owned=_owned(pool.tags), owned=_owned(cluster.tags),
            may_delete=(cluster.tags or {}).get(_MAY_DELETE) == self._name, others=_others(cluster, pool.name or ""),
            pool=pool.name or self._pools[0],
        )  # fmt: skip

    def begin_start(self) -> str:
        """Starts the stopped cluster."""
        with named(f"start cluster '{self._name}'"):
            return _token(
                self._client.managed_clusters.begin_start(self._group, self._name, polling=_Unattended(), **_ONCE)
            )

    def begin_stop(self) -> str:
        """Stops the running cluster."""
        with named(f"stop cluster '{self._name}'"):
            return _token(
                self._client.managed_clusters.begin_stop(self._group, self._name, polling=_Unattended(), **_ONCE)
            )

    def begin_pool(self, count: int, pool: str | None = None) -> str:
        """Sets a GPU pool's node count; the pool's autoscaler is switched off, for it would undo this.

        The pool as it was read is written back, on the condition that nobody has changed it in between.
        """
        name = pool or self._named_up()
        with named(f"scale pool '{name}' to {count}"):
            found = self._client.agent_pools.get(self._group, self._name, name)
            found.count = count
            found.enable_auto_scaling = False
            found.min_count = found.max_count = None
            unchanged: dict[str, Any] = (
                {"etag": found.e_tag, "match_condition": MatchConditions.IfNotModified} if found.e_tag else {}
            )
            return _token(
                self._client.agent_pools.begin_create_or_update(
                    self._group, self._name, name, found, polling=_Unattended(), **unchanged, **_ONCE
                )
            )

    def _named_up(self) -> str:
        return self._pools[0] if len(self._pools) == 1 else self._up()[0].name or self._pools[0]

    def _up(self) -> tuple[AgentPool, Sequence[AgentPool]]:
        """The GPU pool that is up, and the others: the first with nodes, before those whose last operation failed."""
        pools = []
        for name in self._pools:
            with named(f"look at pool '{name}' of cluster '{self._name}'"):
                pools.append(self._client.agent_pools.get(self._group, self._name, name))
        sound = (pool for pool in pools if pool.count and pool.provisioning_state != "Failed")
        up = next(sound, None) or next((pool for pool in pools if pool.count), pools[0])
        return up, [pool for pool in pools if pool is not up]

    def begin_delete(self) -> str:
        """Deletes the cluster; storage is not touched."""
        with named(f"delete cluster '{self._name}'"):
            return _token(
                self._client.managed_clusters.begin_delete(self._group, self._name, polling=_Unattended(), **_ONCE)
            )

    def abort(self, kind: Literal["start", "stop", "pool"]) -> None:
        """Aborts the latest operation on the cluster, or on its GPU pool; its own token then tells that it was canceled."""
        unattended: dict[str, Any] = {"polling": _Unattended(), **_ONCE}
        with named(f"abort the operation '{kind}' of cluster '{self._name}'"):
            match kind:
                case "start" | "stop":
                    self._client.managed_clusters.begin_abort_latest_operation(self._group, self._name, **unattended)
                case "pool":
                    self._client.agent_pools.begin_abort_latest_operation(
                        self._group, self._name, self._named_up(), **unattended
                    )

    def operation(self, kind: OperationKind, token: str, pool: str | None = None) -> OperationState:
        """Looks once at the operation that the token resumes, whichever process began it.

        Azure forgets operations after some days, and a token of another SDK may not be readable: then the operation is
        over as far as can be known, and what came of it is seen at the cluster.
        """
        what = {
            "start": "start the cluster", "stop": "stop the cluster", "delete": "delete the cluster",
            "pool": f"scale pool '{pool or self._pools[0]}'",
        }[kind]  # fmt: skip
        method: ARMPolling = _Unattended()
        with named(f"tell how far the operation '{kind}' is"):
            if not self._resumed(kind, token, method):
                return OperationState(running=False, failure=_LOST.format(kind=kind))
            if not method.finished():
                try:
                    method.update_status()
                except (BadStatus, BadResponse) as error:  # what the SDK's poller raises here is no AzureError
                    answer = method._pipeline_response.http_response
                    if answer.status_code == HTTPStatus.NOT_FOUND:
                        return OperationState(running=False)
                    raise HttpResponseError(response=answer, error=error) from error
            if not method.finished():
                return OperationState(running=True)
            failed = method.status().lower() != "succeeded"
            return OperationState(running=False, failure=failure_of(what, method) if failed else None)

    def _resumed(self, kind: OperationKind, token: str, method: ARMPolling) -> bool:
        """Whether the token could be read. Without one the SDK would begin the operation anew."""
        if not token:
            return False
        resume: dict[str, Any] = {"polling": method, "continuation_token": token}
        clusters, pools = self._client.managed_clusters, self._client.agent_pools
        try:
            match kind:
                case "start":
                    clusters.begin_start(self._group, self._name, **resume)
                case "stop":
                    clusters.begin_stop(self._group, self._name, **resume)
                case "delete":
                    clusters.begin_delete(self._group, self._name, **resume)
                case "pool":
                    pools.begin_create_or_update(self._group, self._name, self._pools[0], AgentPool(), **resume)
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            _log.warning("the token of the operation '%s' cannot be read: %s", kind, error)
            return False
        return True

    def access(self) -> ClusterAccess:
        """How to reach the Kubernetes API: as the user credentials say, with an Entra token where they ask for one.

        With local accounts disabled that is all there is; else a certificate or a token stands in the kubeconfig itself.
        """
        what = f"give the credentials of cluster '{self._name}'"
        with named(what):
            found = self._client.managed_clusters.list_cluster_user_credentials(self._group, self._name, format="exec")
        given = bytes((found.kubeconfigs or [CredentialResult()])[0].value or b"{}").decode(errors="replace")
        try:
            return kubeconfig.access(given, "", self._entra_token, name=f"the kubeconfig of cluster '{self._name}'")
        except SlipwayError as error:
            raise AzureRefused(
                "no_credentials", f"Azure did not {what}: {error.message}",
                "az aks get-credentials --format exec shows it; sign-in by Entra or a local account must be there.",
            ) from error  # fmt: skip

    def _entra_token(self, application: str) -> str:
        with named(f"give a token for the Kubernetes API of cluster '{self._name}'"):
            return self._credential.get_token(f"{application}/.default").token


def _under_way(state: str) -> bool:
    return state not in ("Succeeded", "Failed", "Canceled")


def _text(value: str | Enum | None) -> str:
    """The SDK's enumerations are strings, but ``str`` of one is its name: ``AgentPoolMode.USER``."""
    return str(value.value) if isinstance(value, Enum) else value or ""


def _owned(tags: Mapping[str, str] | None) -> bool:
    return (tags or {}).get(_OWNED) == "owned"


def _others(cluster: ManagedCluster, pool: str) -> dict[str, int]:
    """Nodes of the cluster's other pools, by VM size."""
    nodes: dict[str, int] = {}
    for profile in cluster.agent_pool_profiles or []:
        if profile.name != pool and profile.vm_size:
            nodes[profile.vm_size] = nodes.get(profile.vm_size, 0) + (profile.count or 0)
    return nodes


def _token(poller: LROPoller[Any]) -> str:
    return str(poller.continuation_token())
