"""Mounts the volumes of a pod: each becomes a host folder.

ConfigMaps and Secrets are files with their contents as of the start, an emptyDir is an empty folder, a claim on a
volume of the Blob CSI driver is the mirror of its container. Anything else has no counterpart here and is
refused by name.
"""

import base64
import logging
import shutil
from pathlib import Path, PurePosixPath

from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object
from localcloud.kubelet.mirror import BlobMirrors, MirrorError
from localcloud.kubelet.mounts import Mounts

_log = logging.getLogger(__name__)
_DRIVER = "blob.csi.azure.com"
_TOKEN_VOLUME = "kube-api-access-"  # noqa: S105  (a volume's name)


class VolumeError(Exception):
    """A volume cannot be mounted now; the message is that of a FailedMount event."""


class PodVolumes:
    """The mounted volumes of one pod, under ``folder``."""

    def __init__(self, client: KubernetesClient, mirrors: BlobMirrors, pod: Object, folder: Path) -> None:
        self._client = client
        self._mirrors = mirrors
        self._namespace = pod["metadata"]["namespace"]
        self._spec = pod["spec"]
        self._folder = folder
        self._folders: dict[str, Path] = {}
        self._texts: dict[str, dict[str, bytes]] = {}
        self._containers: list[str] = []

    async def mount(self) -> None:
        """Mounts all that are not mounted yet. Raises `VolumeError`; it may be called again."""
        for volume in self._spec.get("volumes") or []:
            if volume["name"] not in self._folders:
                self._folders[volume["name"]] = await self._mounted(volume)

    def release(self) -> None:
        """Unmounts all and removes the pod's own folders."""
        while self._containers:
            self._mirrors.unmount(self._containers.pop())
        self._folders.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def of(self, container: Object, *, rewrite_files: bool) -> Mounts:
        """The mounts of one container.

        ``rewrite_files``: the program does not map paths itself, so it gets copies of its configuration files in which
        they are mapped.
        """
        found: dict[str, Path] = {}
        for mount in container.get("volumeMounts") or []:
            folder = self._folders[mount["name"]]
            found[mount["mountPath"].rstrip("/") or "/"] = _below(folder, mount.get("subPath", ""))
        mounts = Mounts(found)
        if rewrite_files:
            for mount in container.get("volumeMounts") or []:
                texts = self._texts.get(mount["name"])
                if texts is not None and not mount.get("subPath"):
                    copy = self._folder / "rewritten" / container["name"] / mount["name"]
                    _write(copy, {name: mounts.on_host(text.decode()).encode() for name, text in texts.items()})
                    found[mount["mountPath"].rstrip("/")] = copy
        return Mounts(found)

    async def _mounted(self, volume: Object) -> Path:
        name = volume["name"]
        folder: Path = self._folder / "volumes" / name
        match volume:
            case {"configMap": source}:
                path = f"configmaps/{source['name']}"
                held = await self._read(path, "configmap", source)
                content = {key: text.encode() for key, text in (held.get("data") or {}).items()}
                content |= {key: base64.b64decode(text) for key, text in (held.get("binaryData") or {}).items()}
            case {"secret": source}:
                held = await self._read(f"secrets/{source['secretName']}", "secret", source)
                content = {key: base64.b64decode(text) for key, text in (held.get("data") or {}).items()}
            case {"persistentVolumeClaim": source}:
                return await self._claimed(name, source["claimName"])
            case {"emptyDir": _}:
                content = {}
            case {"projected": _} if name.startswith(_TOKEN_VOLUME):
                content = {}  # the stand-in's containers have no account of their own at the API
            case _:
                kind = next((key for key in volume if key != "name"), "unknown")
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{name}": this stand-in does not mount {kind} volumes, only '
                    f"configMap, secret, emptyDir and claims on {_DRIVER}"
                )
        if "configMap" in volume or "secret" in volume:
            content = _selected(name, content, source)
            self._texts[name] = content
        _write(folder, content)
        return folder

    async def _read(self, path: str, kind: str, source: Object) -> Object:
        try:
            return await self._client.get(f"/api/v1/namespaces/{self._namespace}/{path}")
        except KubernetesError as error:
            if error.status == 404 and source.get("optional"):
                return {}
            named = path.partition("/")[2]
            raise VolumeError(f'MountVolume.SetUp failed: {kind} "{named}": {error.message}') from error

    async def _claimed(self, volume: str, claim: str) -> Path:
        path = f"/api/v1/namespaces/{self._namespace}/persistentvolumeclaims/{claim}"
        try:
            bound = (await self._client.get(path))["spec"].get("volumeName")
            if not bound:
                raise VolumeError(f'persistentvolumeclaim "{claim}" is not bound to a persistent volume')
            spec = (await self._client.get(f"/api/v1/persistentvolumes/{bound}"))["spec"]
        except KubernetesError as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume}": {error.message}') from error
        csi = spec.get("csi") or {}
        container = (csi.get("volumeAttributes") or {}).get("containerName")
        if csi.get("driver") != _DRIVER or not container:
            raise VolumeError(
                f'MountVolume.SetUp failed for volume "{volume}": persistent volume {bound} is not one of {_DRIVER} '
                "with volumeAttributes.containerName, the only kind this stand-in mounts"
            )
        try:
            folder = await self._mirrors.mount(container)
        except MirrorError as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume}": rpc error: {error}') from error
        self._containers.append(container)
        return folder


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
        chosen[item["path"]] = content[item["key"]]
    return chosen


def _write(folder: Path, content: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        path = _below(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _below(folder: Path, relative: str) -> Path:
    if relative.startswith("/") or ".." in PurePosixPath(relative).parts:
        raise VolumeError(f'invalid path "{relative}": must be relative and not contain ".."')
    return folder / relative
