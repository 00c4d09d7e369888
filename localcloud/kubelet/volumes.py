"""Mounts the volumes of a pod: each becomes a host folder.

ConfigMaps, Secrets, the downward API and what is projected of them are files that follow their sources; an emptyDir is an
empty folder; a claim on a volume of the Blob CSI driver is the mirror of its container. Anything else has no counterpart
here and is refused by name.
"""

import logging
import shutil
from pathlib import Path

from localcloud.kubelet import atomic_folder
from localcloud.kubelet.api import KubernetesClient, KubernetesError, Object
from localcloud.kubelet.files import Sources, VolumeError, below, is_files
from localcloud.kubelet.mirror import BlobMirrors, MirrorError
from localcloud.kubelet.mounts import Mounts

__all__ = ["PodVolumes", "VolumeError"]

_log = logging.getLogger(__name__)
_DRIVER = "blob.csi.azure.com"


class PodVolumes:
    """The mounted volumes of one pod, under ``folder``."""

    def __init__(
        self, client: KubernetesClient, mirrors: BlobMirrors, pod: Object, sources: Sources, folder: Path
    ) -> None:
        self._client = client
        self._mirrors = mirrors
        self._namespace = pod["metadata"]["namespace"]
        self._volumes: list[Object] = pod["spec"].get("volumes") or []
        self._sources = sources
        self._folder = folder
        self._folders: dict[str, Path] = {}
        self._texts: dict[str, dict[str, bytes]] = {}
        self._copies: dict[Path, tuple[str, Mounts]] = {}
        self._containers: list[str] = []

    async def mount(self) -> None:
        """Mounts all that are not mounted yet. Raises `VolumeError`; it may be called again."""
        for volume in self._volumes:
            if volume["name"] not in self._folders:
                self._folders[volume["name"]] = await self._mounted(volume)

    async def refresh(self) -> None:
        """Brings mounted files up to date with their sources. Raises `VolumeError` or what the API client raises."""
        for volume in self._volumes:
            if is_files(volume):
                await self._mounted(volume)

    def release(self) -> None:
        """Unmounts all and removes the pod's own folders."""
        while self._containers:
            self._mirrors.unmount(self._containers.pop())
        self._folders.clear()
        self._copies.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def of(self, container: Object, *, rewrite_files: bool) -> Mounts:
        """The mounts of one container.

        ``rewrite_files``: the program does not map paths itself, so it gets copies of its configuration files in which
        they are mapped.
        """
        found: dict[str, Path] = {}
        for mount in container.get("volumeMounts") or []:
            folder = self._folders[mount["name"]]
            found[mount["mountPath"].rstrip("/") or "/"] = below(folder, mount.get("subPath", ""))
        mounts = Mounts(dict(found))
        if rewrite_files:
            for mount in container.get("volumeMounts") or []:
                if mount["name"] in self._texts and not mount.get("subPath"):
                    copy = self._folder / "rewritten" / container["name"] / mount["name"]
                    self._copies[copy] = (mount["name"], mounts)
                    self._copy(copy)
                    found[mount["mountPath"].rstrip("/")] = copy
        return Mounts(found)

    def _copy(self, copy: Path) -> None:
        volume, mounts = self._copies[copy]
        atomic_folder.put(copy, {name: _rewritten(text, mounts) for name, text in self._texts[volume].items()})

    async def _mounted(self, volume: Object) -> Path:
        name = volume["name"]
        folder: Path = self._folder / "volumes" / name
        if is_files(volume):
            self._texts[name] = await self._sources.content(volume)
            if atomic_folder.put(folder, self._texts[name]):
                for copy, (of, _) in self._copies.items():
                    if of == name:
                        self._copy(copy)
            return folder
        match volume:
            case {"persistentVolumeClaim": source}:
                return await self._claimed(name, source["claimName"])
            case {"emptyDir": _} | {"hostPath": {"path": "/var/lib/kubelet/device-plugins"}}:  # the latter for GPUs
                return _empty(folder)
            case _:
                kind = next((key for key in volume if key != "name"), "unknown")
                raise VolumeError(
                    f'MountVolume.SetUp failed for volume "{name}": this stand-in does not mount {kind} volumes, only '
                    f"configMap, secret, downwardAPI, projected, emptyDir and claims on {_DRIVER}"
                )

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


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _rewritten(text: bytes, mounts: Mounts) -> bytes:
    """A configuration file with its paths mapped; what is no text stays as it is."""
    try:
        return mounts.on_host(text.decode()).encode()
    except UnicodeDecodeError:
        return text
