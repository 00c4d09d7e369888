"""What a kubelet checks of a container before it makes it. Pure."""

from localcloud.kubelet.api import Object
from localcloud.kubelet.commands import CommandError
from localcloud.kubelet.images import Image


def check_user(pod: Object, container: Object, image: Image) -> None:
    """``runAsNonRoot``: refuses a container that would run as root. Raises `CommandError`.

    Who a local process runs as is not changed by it.
    """
    settings = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
    if not settings.get("runAsNonRoot"):
        return
    user = settings.get("runAsUser")
    metadata = pod["metadata"]
    where = f'(pod: "{metadata["name"]}_{metadata["namespace"]}({metadata["uid"]})", container: {container["name"]})'
    if user == 0:
        raise CommandError(f"container's runAsUser breaks non-root policy {where}")
    if user is None and image.runs_as_root:
        raise CommandError(f"container has runAsNonRoot and image will run as root {where}")
