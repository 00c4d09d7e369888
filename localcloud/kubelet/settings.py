"""How the kubelet paces itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KubeletSettings:
    """Seconds. A real kubelet's back-off starts at 10 s and doubles to 300 s; rehearsals want it quicker."""

    back_off_base: float = 10.0
    back_off_max: float = 300.0
    mount_retry: float = 1.0
    image_pull: float = 0.0
    """What the first pull of an image takes on each node: minutes for a GPU image of gigabytes, nothing here."""
    memory_check: float = 1.0
    """Between two looks at a container's memory; the kernel of a real node looks at every allocation."""
    strict_signals: bool = False
    """A container's first process gets no SIGTERM that it does not handle, as process 1 of a real one: it takes all of its
    grace period to end."""
    config_refresh: float = 10.0
    """Between two looks for changed ConfigMaps and Secrets; a real kubelet takes up to 60 s and its cache's time."""
    heartbeat: float = 10.0
    """Between two renewals of the node's lease, as Kubernetes."""
