"""Whether an image is pulled, is there already, or cannot be had. Pure; `container` performs it."""

import re
from dataclasses import dataclass

from localcloud.kubelet.api import Object
from localcloud.kubelet.images import Image

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?:[A-Za-z0-9.-]+)(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::[\w][\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)


@dataclass(frozen=True)
class Present:
    """The image is on the node, and the policy does not ask for a pull."""

    image: Image


@dataclass(frozen=True)
class Pull:
    """The image is to be pulled."""

    image: Image


@dataclass(frozen=True)
class Refused:
    """The image cannot be had: the waiting reason, why, and the reason while backing off (empty: there is none)."""

    reason: str
    message: str
    again: str = ""


def decide(container: Object, image: Image | None, *, present: bool) -> Present | Pull | Refused:
    """``present``: the node has pulled the image before."""
    reference, policy = container["image"], container.get("imagePullPolicy", "IfNotPresent")
    if not _REFERENCE.fullmatch(reference):
        fault = f'couldn\'t parse image name "{reference}": invalid reference format'
        message = f'Failed to apply default image tag "{reference}": {fault}'
        return Refused("InvalidImageName", message)
    if image is not None and present and policy != "Always":
        return Present(image)
    if policy == "Never":
        message = f'Container image "{reference}" is not present with pull policy of Never'
        return Refused("ErrImageNeverPull", message)
    if image is None:
        message = (
            f'failed to pull and unpack image "{reference}": not found: this stand-in has no program for it '
            "(see localcloud/README.md, images)"
        )
        return Refused("ErrImagePull", message, "ImagePullBackOff")
    return Pull(image)
