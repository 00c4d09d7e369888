"""Which local program stands for which container image.

There are no images here: a reference is looked up by pattern, and what it names is started as a local process. What is
not in the registry cannot be pulled, as in a cluster that has no such image.
"""

import fnmatch
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

_HOST_TOOLS = ("sh", "bash", "cat", "ls", "test", "stat", "head", "sleep", "true", "false", "echo")
"""Programs of any Debian image that probes, hooks and scripts use; the host's own serve."""


@dataclass(frozen=True)
class Image:
    """What the images matching ``pattern`` run.

    ``entrypoint`` starts where the container gives no command, followed by those ``default_flags`` whose names its args
    do not give; ``$(NAME)`` in them is replaced from the environment. ``programs`` are found by name in a command.
    """

    pattern: str
    entrypoint: tuple[str, ...]
    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    honours_mounts: bool = False
    """It opens paths through LOCALCLOUD_MOUNTS and listens on LOCALCLOUD_BIND_ADDRESS itself."""
    runs_as_root: bool = False
    """Its user is root, or it names none, which is the same."""
    deaf_to_term: bool = False
    """What the program stands for handles no SIGTERM, though the program does."""
    port_flags: tuple[str, ...] = ()
    """Flags whose ports it opens on all interfaces: it gets free ones, forwarded from the pod's address."""

    def program(self, name: str) -> tuple[str, ...] | None:
        """The host's command for a program of the image, by the last part of its path; None where it has none such."""
        base = PurePosixPath(name).name
        if base in self.programs:
            return self.programs[base]
        found = shutil.which(base) if base in _HOST_TOOLS else None
        return None if found is None else (found,)


class ImageRegistry:
    """The images there are; earlier entries win."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._images = tuple(images)

    def find(self, reference: str) -> Image | None:
        """The image a reference names, with or without its registry's host; None where there is none."""
        host, _, rest = reference.partition("/")
        names = {reference, rest} if rest and ("." in host or ":" in host or host == "localhost") else {reference}
        return next((image for image in self._images if any(fnmatch.fnmatch(n, image.pattern) for n in names)), None)


def tensorflow_serving() -> Image:
    """``tensorflow/serving``: the real server where it is installed, else this project's own with the same flags."""
    installed = shutil.which("tensorflow_model_server")
    server = (installed,) if installed else (sys.executable, "-m", "localcloud.tf_serving")
    return Image(
        pattern="tensorflow/serving:*",
        entrypoint=server,
        programs={"tensorflow_model_server": server, "tf_serving_entrypoint.sh": server},
        default_flags=(
            "--port=8500",
            "--rest_api_port=8501",
            "--model_name=$(MODEL_NAME)",
            "--model_base_path=$(MODEL_BASE_PATH)/$(MODEL_NAME)",
        ),
        environment={"MODEL_NAME": "model", "MODEL_BASE_PATH": "/models"},
        honours_mounts=installed is None,
        runs_as_root=True,
        deaf_to_term=installed is None,
        port_flags=("--port", "--rest_api_port") if installed else (),
    )


def slipway_exporter() -> Image:
    """What infra/exporter/Dockerfile makes: this very source."""
    return Image(pattern="*slipway-exporter:*", entrypoint=(sys.executable, "-m", "deployer.export_job"))


def device_plugin() -> Image:
    """NVIDIA's device plugin: what it does, the node's agent does (see `devices`); the container just runs."""
    idle = (sys.executable, "-I", "-S", "-c", "import signal; signal.pause()")
    return Image(pattern="*nvidia/k8s-device-plugin:*", entrypoint=idle, runs_as_root=True)


def busybox() -> Image:
    """Small programs, which the host's own stand for."""
    return Image(pattern="busybox:*", entrypoint=("sh",), runs_as_root=True)
