"""The files that a volume's sources make: ConfigMaps, Secrets, the downward API, and what is projected of them."""

import base64
from pathlib import Path, PurePosixPath

from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object
from localcloud.kubelet.commands import CommandError
from localcloud.kubelet.environment import Addresses, field, resource

_KINDS = ("configMap", "secret", "downwardAPI", "projected")
_NO_TOKEN = b"the local cloud gives pods no tokens"


class VolumeError(Exception):
    """A volume cannot be mounted now; the message is that of a FailedMount event."""


def is_files(volume: Object) -> bool:
    """Whether a volume is made of files that follow their sources."""
    return any(kind in volume for kind in _KINDS)


class Sources:
    """Reads the sources of one pod's volumes."""

    def __init__(self, client: KubernetesClient, pod: Object, addresses: Addresses) -> None:
        self._client = client
        self._pod = pod
        self._namespace = pod["metadata"]["namespace"]
        self._addresses = addresses

    async def content(self, volume: Object) -> dict[str, bytes]:
        """The files of a volume by path. Raises `VolumeError`."""
        if "projected" not in volume:
            return await self._source(volume["name"], volume)
        found: dict[str, bytes] = {}
        for source in volume["projected"].get("sources") or []:
            found |= await self._source(volume["name"], source)
        return found

    async def _source(self, volume: str, source: Object) -> dict[str, bytes]:
        match source:
            case {"configMap": wanted}:
                held = await self._read("configmap", wanted["name"], wanted)
                content = {key: text.encode() for key, text in (held.get("data") or {}).items()}
                content |= {key: base64.b64decode(text) for key, text in (held.get("binaryData") or {}).items()}
                return _selected(volume, content, wanted)
            case {"secret": wanted}:
                held = await self._read("secret", wanted.get("secretName") or wanted["name"], wanted)
                content = {key: base64.b64decode(text) for key, text in (held.get("data") or {}).items()}
                return _selected(volume, content, wanted)
            case {"downwardAPI": wanted}:
                return {below(Path(), item["path"]).as_posix(): self._item(item) for item in wanted.get("items") or []}
            case {"serviceAccountToken": wanted}:
                return {wanted["path"]: _NO_TOKEN}
        kind = next((key for key in source if key != "name"), "unknown")
        raise VolumeError(f'MountVolume.SetUp failed for volume "{volume}": this stand-in does not project {kind}')

    def _item(self, item: Object) -> bytes:
        try:
            if "fieldRef" in item:
                return field(self._pod, item["fieldRef"]["fieldPath"], self._addresses).encode()
            return resource(self._pod, self._pod["spec"]["containers"][0], item["resourceFieldRef"]).encode()
        except CommandError as error:
            raise VolumeError(f"MountVolume.SetUp failed: {error}") from error

    async def _read(self, kind: str, name: str, source: Object) -> Object:
        try:
            return await self._client.get(f"/api/v1/namespaces/{self._namespace}/{kind}s/{name}")
        except KubernetesError as error:
            if error.status == 404 and source.get("optional"):
                return {}
            raise VolumeError(f'MountVolume.SetUp failed: {kind} "{name}": {error.message}') from error


def below(folder: Path, relative: str) -> Path:
    """A path below ``folder``. Raises `VolumeError` for one that leads out of it."""
    if relative.startswith("/") or ".." in PurePosixPath(relative).parts:
        raise VolumeError(f'invalid path "{relative}": must be relative and not contain ".."')
    return folder / relative


def _selected(volume: str, content: dict[str, bytes], source: Object) -> dict[str, bytes]:
    """The files a source's ``items`` choose; all, where it has none."""
    if not source.get("items"):
        return content
    chosen = {}
    for item in source["items"]:
        if item["key"] not in content:
            if source.get("optional"):
                continue
            raise VolumeError(
                f'MountVolume.SetUp failed for volume "{volume}": references non-existent key {item["key"]}'
            )
        chosen[below(Path(), item["path"]).as_posix()] = content[item["key"]]
    return chosen
