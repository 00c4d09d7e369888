"""The environment of a container: the image's, the spec's, and what a local process needs of the machine's."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object
from localcloud.kubelet.commands import CommandError, expand
from localcloud.kubelet.images import Image
from localcloud.kubelet.mounts import Mounts

_FROM_MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
_SOURCES = Path(__file__).parents[2]


async def declared(
    client: KubernetesClient, pod: Object, container: Object, image: Image, address: str
) -> dict[str, str]:
    """The variables of the spec, over those of the image. Raises `CommandError` where one cannot be had."""
    found = dict(image.environment)
    for each in container.get("envFrom") or []:
        for kind, reference in (("configmap", each.get("configMapRef")), ("secret", each.get("secretRef"))):
            if reference is not None:
                held = await _data(client, pod["metadata"]["namespace"], kind, reference)
                found |= {f"{each.get('prefix', '')}{key}": value for key, value in held.items()}
    for each in container.get("env") or []:
        if "valueFrom" in each:
            value = await _referred(client, pod, each["valueFrom"], address)
            if value is not None:
                found[each["name"]] = value
        else:
            found[each["name"]] = expand(each.get("value") or "", found)
    return found


async def _referred(client: KubernetesClient, pod: Object, source: Object, address: str) -> str | None:
    metadata = pod["metadata"]
    match source:
        case {"fieldRef": {"fieldPath": "metadata.name"}}:
            return str(metadata["name"])
        case {"fieldRef": {"fieldPath": "metadata.namespace"}}:
            return str(metadata["namespace"])
        case {"fieldRef": {"fieldPath": "metadata.uid"}}:
            return str(metadata["uid"])
        case {"fieldRef": {"fieldPath": "spec.nodeName"}}:
            return str(pod["spec"]["nodeName"])
        case {"fieldRef": {"fieldPath": "status.podIP" | "status.hostIP"}}:
            return address
        case {"configMapKeyRef": reference}:
            return await _key(client, metadata["namespace"], "configmap", reference)
        case {"secretKeyRef": reference}:
            return await _key(client, metadata["namespace"], "secret", reference)
    raise CommandError(f"this stand-in does not know the variable source {json.dumps(source)}")


async def _key(client: KubernetesClient, namespace: str, kind: str, reference: Object) -> str | None:
    held = await _data(client, namespace, kind, reference)
    if reference["key"] not in held and not reference.get("optional"):
        raise CommandError(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")
    return held.get(reference["key"])


async def _data(client: KubernetesClient, namespace: str, kind: str, reference: Object) -> dict[str, str]:
    """The texts of a ConfigMap or Secret; none of one that is optional and not there."""
    try:
        held = await client.get(f"/api/v1/namespaces/{namespace}/{kind}s/{reference['name']}")
    except KubernetesError as error:
        if error.status == 404 and reference.get("optional"):
            return {}
        raise CommandError(error.message) from error
    texts: dict[str, str] = held.get("data") or {}
    return {key: base64.b64decode(text).decode() for key, text in texts.items()} if kind == "secret" else texts


def of_process(
    variables: Mapping[str, str], image: Image, mounts: Mounts, *, hostname: str, address: str
) -> dict[str, str]:
    """The environment of the local process: paths are mapped unless the program does so itself."""
    machine = {name: os.environ[name] for name in _FROM_MACHINE if name in os.environ}
    given = dict(variables) if image.honours_mounts else {name: mounts.on_host(v) for name, v in variables.items()}
    return {
        **machine,
        "PYTHONPATH": str(_SOURCES),
        "PYTHONUNBUFFERED": "1",
        "HOSTNAME": hostname,
        **given,
        "LOCALCLOUD_BIND_ADDRESS": address,
        "LOCALCLOUD_MOUNTS": json.dumps(mounts.as_json()),
    }
