"""How the kubelet paces itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KubeletSettings:
    """Seconds. A real kubelet's back-off starts at 10 s and doubles to 300 s; rehearsals want it quicker."""

    back_off_base: float = 10.0
    back_off_max: float = 300.0
    mount_retry: float = 1.0
