"""The environment of a container: the image's, the spec's, and what a local process needs of the machine's."""

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING
from pathlib import Path

from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object
from localcloud.kubelet.commands import CommandError, expand
from localcloud.kubelet.images import Image
from localcloud.kubelet.mounts import Mounts
from localcloud.kubernetes.quantities import parse_quantity

_FROM_MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR")
_SOURCES = Path(__file__).parents[2]


@dataclass(frozen=True)
class Addresses:
    """The pod's own address and its node's."""

    pod: str
    host: str


async def declared(
    client: KubernetesClient, pod: Object, container: Object, image: Image, addresses: Addresses
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
            value = await _referred(client, pod, container, each["valueFrom"], addresses)
            if value is not None:
                found[each["name"]] = value
        else:
            found[each["name"]] = expand(each.get("value") or "", found)
    return found


_LABEL = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


def field(pod: Object, path: str, addresses: Addresses) -> str:
    """The value of a downward API field of a pod. Raises `CommandError` for one it does not have."""
    metadata = pod["metadata"]
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata[path.partition(".")[2]])
        case "spec.nodeName" | "spec.serviceAccountName":
            return str(pod["spec"].get(path.partition(".")[2], ""))
        case "status.podIP" | "status.podIPs":
            return addresses.pod
        case "status.hostIP" | "status.hostIPs":
            return addresses.host
        case "metadata.labels" | "metadata.annotations":
            held = metadata.get(path.partition(".")[2]) or {}
            return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(held.items()))
    if (named := _LABEL.fullmatch(path)) is not None:
        return str((metadata.get(named[1]) or {}).get(named[2], ""))
    raise CommandError(f"unsupported fieldPath: {path}")


def resource(pod: Object, container: Object, reference: Object) -> str:
    """A ``resourceFieldRef``: an amount of the container's in units of ``divisor``, rounded up."""
    name = reference.get("containerName")
    owner = next((each for each in pod["spec"]["containers"] if each["name"] == name), container)
    kind, _, unit = reference["resource"].partition(".")
    amount = ((owner.get("resources") or {}).get(kind) or {}).get(unit)
    if amount is None:
        raise CommandError(f"container {owner['name']} sets no {reference['resource']}, which a variable refers to")
    divisor = parse_quantity(reference.get("divisor") or "0") or parse_quantity("1")
    return str((parse_quantity(amount) / divisor).to_integral_value(ROUND_CEILING))


async def _referred(
    client: KubernetesClient, pod: Object, container: Object, source: Object, addresses: Addresses
) -> str | None:
    namespace = pod["metadata"]["namespace"]
    match source:
        case {"fieldRef": {"fieldPath": path}}:
            return field(pod, path, addresses)
        case {"resourceFieldRef": reference}:
            return resource(pod, container, reference)
        case {"configMapKeyRef": reference}:
            return await _key(client, namespace, "configmap", reference)
        case {"secretKeyRef": reference}:
            return await _key(client, namespace, "secret", reference)
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
