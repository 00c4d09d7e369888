"""Applies the GPU device plugin to a new cluster, as its administrator would; who deletes it has deleted it."""

import asyncio
from pathlib import Path

import yaml

from localcloud.kubelet import KubernetesClient, KubernetesError

_TEMPLATE = Path(__file__).parents[2] / "k8s_templates" / "gpu-device-plugin.yaml"
_ATTEMPTS = 40
_PAUSE_SECONDS = 0.25


async def install(client: KubernetesClient) -> None:
    """Creates the DaemonSet, once its namespace is there. Raises `KubernetesError` where it never is."""
    document = yaml.safe_load(_TEMPLATE.read_text(encoding="utf-8"))
    path = f"/apis/apps/v1/namespaces/{document['metadata']['namespace']}/daemonsets"
    for attempt in range(_ATTEMPTS):
        try:
            await client.create(path, document)
        except KubernetesError as error:
            if error.status == 409:
                return
            if error.status != 404 or attempt == _ATTEMPTS - 1:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return
