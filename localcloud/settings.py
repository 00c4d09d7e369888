"""The app settings that the local cloud gives the Function App: what Bicep sets on Azure, with local values."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

# A developer's own sign-in and cluster must not reach the app: they would be sent to the stand-ins, or worse, be used on
# the real Azure. Proxies would only stand between processes that all listen on loopback.
_NOT_INHERITED = ("AZURE_", "IDENTITY_", "MSI_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SLIPWAY_CLUSTER__")


@dataclass(frozen=True)
class Cluster:
    """What the AKS stand-in says of itself in its ready file."""

    kubernetes_url: str
    kubernetes_token: str
    kubectl_url: str
    arm_url: str
    subscription_id: str
    resource_group: str
    cluster_name: str
    gpu_pool: str
    system_pool: str
    identity_endpoint: str
    identity_header: str


def app_settings(storage: str, cluster: Cluster | None, overrides: Mapping[str, str]) -> dict[str, str]:
    """The settings by name. ``overrides`` win; an empty value takes a setting away."""
    settings = {
        "AzureWebJobsStorage": storage,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AZURE_TOKEN_CREDENTIALS": "prod",  # DefaultAzureCredential passes over az, azd and editors that are signed in
    }
    if cluster is not None:
        settings |= {
            "IDENTITY_ENDPOINT": cluster.identity_endpoint,
            "IDENTITY_HEADER": cluster.identity_header,
            "SLIPWAY_CLUSTER__SUBSCRIPTION_ID": cluster.subscription_id,
            "SLIPWAY_CLUSTER__RESOURCE_GROUP": cluster.resource_group,
            "SLIPWAY_CLUSTER__NAME": cluster.cluster_name,
            "SLIPWAY_CLUSTER__GPU_POOL": cluster.gpu_pool,
            "SLIPWAY_CLUSTER__ARM_URL": cluster.arm_url,
            "SLIPWAY_EXPORT__JOB_IMAGE": "slipway-exporter:local",
            # What the stand-ins take with their default delays, until there are times of their own.
            "SLIPWAY_IDLE__WAKE_PODS_SECONDS": "6",
            "SLIPWAY_IDLE__WAKE_POOL_SECONDS": "10",
            "SLIPWAY_IDLE__WAKE_STOPPED_SECONDS": "20",
        }
    return {name: value for name, value in {**settings, **overrides}.items() if value}


def inherited() -> dict[str, str]:
    """This process's environment, without what is a developer's own."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_NOT_INHERITED)}
