"""The command line of the AKS stand-in. What a flag changes of a stored cluster's shape counts at its creation only."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from localcloud.arm import Delays
from localcloud.kubelet import Image, KubeletSettings


@dataclass(frozen=True)
class Options:
    """Everything that can be set; delays and back-off in seconds."""

    data: Path
    storage_connection_string: str
    ready_file: Path
    kubernetes_port: int
    kubectl_port: int
    arm_port: int
    cluster_name: str
    resource_group: str
    gpu_nodes: int
    gpu_max: int
    gpu_size: str
    disable_local_accounts: bool
    entra: bool
    delays: Delays
    kubelet: KubeletSettings
    mount_cache: float
    device_plugin: bool
    kserve: bool
    images: tuple[Image, ...]


def parse(arguments: Sequence[str]) -> Options:
    """Reads the command line; ends the process with a usage message where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.aks", description="A stand-in for an AKS cluster.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of all state; a start on the same folder goes on from there")
    add("--storage-connection-string", required=True, help="account whose blob containers the pods mount")
    add("--ready-file", type=Path, required=True, help="JSON with addresses and keys, written once all listens")
    add("--kubernetes-port", type=int, default=0, help="port of the Kubernetes API; 0: the one before, else a free one")
    add("--kubectl-port", type=int, default=0, help="port of the Kubernetes API that asks for no token; 0: as above")
    add("--arm-port", type=int, default=0, help="port of ARM and the identity endpoint; 0: as above")
    add("--cluster-name", default="slipway", help="at creation (default: slipway)")
    add("--resource-group", default="slipway", help="at creation (default: slipway)")
    add("--gpu-nodes", type=int, default=1, help="nodes of the GPU pool at creation (default: 1)")
    add("--gpu-max", type=int, default=4, help="most nodes that user pools may have in all, a quota (default: 4)")
    add("--gpu-size", default="Standard_NC4as_T4_v3", help="VM size of the GPU pool at creation")
    add("--no-entra", action="store_true", help="at creation: no sign-in by Entra; the user kubeconfig holds a token")
    add("--disable-local-accounts", action="store_true", help="at creation: no admin kubeconfig, as with Entra only")
    add("--realistic-delays", action="store_true", help="operations take what they take on Azure, minutes")
    for name in ("start", "stop", "scale-up", "scale-down", "update", "delete", "abort", "node-join"):
        add(f"--{name}-delay", type=_seconds, metavar="SECONDS", help=f"instead of the default for {name}")
    paces = KubeletSettings()
    add("--back-off", type=_seconds, default=paces.back_off_base, metavar="SECONDS",
        help="first back-off of failing containers and images (default: 10, as Kubernetes)")  # fmt: skip
    add("--back-off-max", type=_seconds, metavar="SECONDS", help="longest back-off (default: 30 times the first)")
    add("--image-pull", type=_seconds, default=paces.image_pull, metavar="SECONDS",
        help="what a node's first pull of an image takes (default: 0)")  # fmt: skip
    add("--strict-signals", action="store_true",
        help="containers get no SIGTERM that they do not handle, like process 1; TensorFlow Serving handles none")  # fmt: skip
    add("--config-refresh", type=_seconds, default=paces.config_refresh, metavar="SECONDS",
        help="between two looks for changed ConfigMaps and Secrets (default: 10)")  # fmt: skip
    add("--mount-cache", type=_seconds, default=1.0, metavar="SECONDS",
        help="how late a mounted container shows what has changed (default: 1; blobfuse: up to 120)")  # fmt: skip
    add("--no-device-plugin", action="store_true",
        help="at creation: nodes have no nvidia.com/gpu before a device plugin is applied, as on a new AKS cluster")  # fmt: skip
    add("--kserve", action="store_true", help="KServe is installed: the kind InferenceService and its controller")
    add("--images", type=Path, help='JSON list of further images: [{"pattern": …, "entrypoint": […], "programs": {…}}]')
    given = parser.parse_args(arguments)
    if given.no_entra and given.disable_local_accounts:
        parser.error("--no-entra and --disable-local-accounts together leave nobody who could sign in")
    if not 0 <= given.gpu_nodes <= given.gpu_max:
        parser.error(f"--gpu-nodes must be between 0 and --gpu-max ({given.gpu_max}), not {given.gpu_nodes}")
    try:
        images = _images(given.images)
    except (OSError, ValueError, TypeError) as error:
        parser.error(f"--images {given.images}: {error}")
    delays = Delays.realistic() if given.realistic_delays else Delays()
    named = {
        "start": given.start_delay,
        "stop": given.stop_delay,
        "scale_up": given.scale_up_delay,
        "scale_down": given.scale_down_delay,
        "update": given.update_delay,
        "delete": given.delete_delay,
        "abort": given.abort_delay,
        "node_join": given.node_join_delay,
    }
    return Options(
        data=given.data.absolute(),
        storage_connection_string=given.storage_connection_string,
        ready_file=given.ready_file.absolute(),
        kubernetes_port=given.kubernetes_port,
        kubectl_port=given.kubectl_port,
        arm_port=given.arm_port,
        cluster_name=given.cluster_name,
        resource_group=given.resource_group,
        gpu_nodes=given.gpu_nodes,
        gpu_max=given.gpu_max,
        gpu_size=given.gpu_size,
        disable_local_accounts=given.disable_local_accounts,
        entra=not given.no_entra,
        delays=replace(delays, **{name: value for name, value in named.items() if value is not None}),
        kubelet=KubeletSettings(
            back_off_base=given.back_off,
            back_off_max=30 * given.back_off if given.back_off_max is None else given.back_off_max,
            image_pull=given.image_pull,
            strict_signals=given.strict_signals,
            config_refresh=given.config_refresh,
        ),
        mount_cache=given.mount_cache,
        device_plugin=not given.no_device_plugin,
        kserve=given.kserve,
        images=images,
    )


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0 on")
    return value


def _images(path: Path | None) -> tuple[Image, ...]:
    """The images of a JSON file. Raises OSError, ValueError or TypeError where it cannot be used."""
    if path is None:
        return ()
    listed = json.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Image(
            pattern=each["pattern"],
            entrypoint=tuple(each["entrypoint"]),
            programs={name: tuple(command) for name, command in each.get("programs", {}).items()},
            honours_mounts=bool(each.get("honours_mounts", False)),
            runs_as_root=bool(each.get("runs_as_root", False)),
            port_flags=tuple(each.get("port_flags", ())),
        )
        for each in listed
    )
