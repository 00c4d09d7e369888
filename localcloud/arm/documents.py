"""The JSON documents of ARM: cluster, agent pool, operation, kubeconfig. Pure."""

import base64
import json

from localcloud.arm.identity import AKS_SERVER_APPLICATION_ID
from localcloud.arm.model import Cluster, Operation, Pool, Power

Document = dict[str, object]


def cluster(value: Cluster) -> Document:
    """A ``ManagedCluster``."""
    return {
        "id": value.id,
        "name": value.name,
        "type": "Microsoft.ContainerService/ManagedClusters",
        "location": value.location,
        "tags": value.tags,
        "sku": {"name": "Base", "tier": "Free"},
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "provisioningState": value.provisioning_state,
            "powerState": {"code": value.power.value},
            "kubernetesVersion": value.kubernetes_version,
            "currentKubernetesVersion": value.kubernetes_version,
            "dnsPrefix": value.name,
            "fqdn": f"{value.name}.localhost",
            "nodeResourceGroup": f"MC_{value.resource_group}_{value.name}_{value.location}",
            "enableRBAC": True,
            "disableLocalAccounts": value.disable_local_accounts,
            "storageProfile": {"blobCSIDriver": {"enabled": True}},
            **({"aadProfile": {"managed": True, "enableAzureRBAC": True}} if value.entra else {}),
            "agentPoolProfiles": [{"name": pool.name, **_profile(value, pool)} for pool in value.pools.values()],
        },
    }


def pool(owner: Cluster, value: Pool) -> Document:
    """An ``AgentPool``."""
    return {
        "id": f"{owner.id}/agentPools/{value.name}",
        "name": value.name,
        "type": "Microsoft.ContainerService/managedClusters/agentPools",
        "properties": _profile(owner, value),
    }


def _profile(owner: Cluster, value: Pool) -> Document:
    stopped = Power.STOPPED in (owner.power, value.power)
    given: Document = {
        "eTag": value.etag,
        "count": value.count,
        "vmSize": value.vm_size,
        "osDiskType": "Managed",
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "maxPods": 110,
        "type": "VirtualMachineScaleSets",
        "mode": value.mode.value,
        "orchestratorVersion": owner.kubernetes_version,
        "currentOrchestratorVersion": owner.kubernetes_version,
        "provisioningState": value.provisioning_state,
        "powerState": {"code": (Power.STOPPED if stopped else Power.RUNNING).value},
        "enableAutoScaling": value.enable_auto_scaling,
        "minCount": value.min_count,
        "maxCount": value.max_count,
        "scaleSetPriority": value.scale_set_priority,
        "nodeLabels": value.node_labels or None,
        "nodeTaints": list(value.node_taints) or None,
        "tags": value.tags or None,
    }
    return {key: content for key, content in given.items() if content is not None}


def operation(path: str, value: Operation) -> Document:
    """The document an ``Azure-AsyncOperation`` address answers with."""
    document: Document = {"id": path, "name": value.id, "status": value.status.value, "startTime": _time(value.started)}
    if value.ended is not None:
        document["endTime"] = _time(value.ended)
    if value.error is not None:
        document["error"] = {"code": value.error.code, "message": value.error.message}
    return document


def _time(moment: object) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


def kubeconfig(name: str, url: str, user: Document) -> bytes:
    """A kubeconfig (JSON, which is YAML too) of one cluster, one user and one context."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": url}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": f"clusterUser_{name}"}}],
            "users": [{"name": f"clusterUser_{name}", "user": user}],
        },
        indent=1,
    ).encode()


def token_user(token: str) -> Document:
    """A user of a kubeconfig who signs in with a fixed token."""
    return {"token": token}


def entra_user(user_format: str) -> Document:
    """A user who signs in through Entra: kubelogin as an exec plugin, or the former azure provider."""
    if user_format == "exec":
        return {
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": "kubelogin",
                "args": ["get-token", "--login", "msi", "--server-id", AKS_SERVER_APPLICATION_ID],
                "interactiveMode": "IfAvailable",
                "provideClusterInfo": False,
            }
        }
    config = {"apiserver-id": AKS_SERVER_APPLICATION_ID, "config-mode": "1", "environment": "AzurePublicCloud"}
    return {"auth-provider": {"name": "azure", "config": config}}


def credentials(name: str, content: bytes) -> Document:
    """``CredentialResults`` with one kubeconfig."""
    return {"kubeconfigs": [{"name": name, "value": base64.b64encode(content).decode()}]}
