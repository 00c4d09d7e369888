"""From a container's spec to the command and environment of a local process. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localcloud.kubelet.api import Object
from localcloud.kubelet.images import Image
from localcloud.kubelet.mounts import Mounts

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")


class CommandError(Exception):
    """The container cannot be started as its spec says; reason and message are for its status."""

    def __init__(self, message: str, reason: str = "CreateContainerConfigError") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class PortForward:
    """A port the program believes to open, and the free one it opens instead."""

    pod_port: int
    host_port: int


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)``; ``$$`` is a dollar sign and unknown names stay, as Kubernetes has it."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else environment.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def command_line(container: Object, image: Image, environment: Mapping[str, str], mounts: Mounts) -> list[str]:
    """The command of a container. Raises `CommandError` where its program is not in the image."""
    command = [expand(each, environment) for each in container.get("command") or []]
    args = [expand(each, environment) for each in container.get("args") or []]
    if command:
        return [*program(image, command[0]), *_mapped(image, mounts, [*command[1:], *args])]
    given = {arg.partition("=")[0] for arg in args}
    defaults = [expand(each, environment) for each in image.default_flags if each.partition("=")[0] not in given]
    return [*image.entrypoint, *_mapped(image, mounts, [*defaults, *args])]


def program(image: Image, name: str) -> tuple[str, ...]:
    """The host's command for a program of the image. Raises `CommandError` where it has none such."""
    found = image.program(name)
    if found is None:
        raise CommandError(
            f'failed to create containerd task: exec: "{name}": executable file not found in $PATH '
            f"(this stand-in knows for {image.pattern}: {', '.join(sorted(image.programs)) or 'no programs'})",
            "RunContainerError",
        )
    return found


def _mapped(image: Image, mounts: Mounts, texts: Sequence[str]) -> list[str]:
    return list(texts) if image.honours_mounts else [mounts.on_host(each) for each in texts]


def with_free_ports(
    argv: Sequence[str], flags: Sequence[str], free: Sequence[int]
) -> tuple[list[str], list[PortForward]]:
    """``argv`` with the ports of ``flags`` replaced by those in ``free``, and what is to be forwarded."""
    changed = list(argv)
    forwards: list[PortForward] = []
    for index, arg in enumerate(changed):
        flag, _, value = arg.partition("=")
        if flag in flags and value.isdecimal() and value != "0":
            forward = PortForward(int(value), free[len(forwards)])
            changed[index] = f"{flag}={forward.host_port}"
            forwards.append(forward)
    return changed, forwards
