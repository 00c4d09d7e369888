"""The machine sizes the stand-in offers, with what their nodes report."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MachineSize:
    """A virtual machine size: cores, memory in GiB, GPUs and the GPU's name."""

    cores: int
    memory_gib: int
    gpus: int = 0
    gpu_name: str = ""


SIZES = {
    "Standard_D2s_v5": MachineSize(2, 8),
    "Standard_D4s_v5": MachineSize(4, 16),
    "Standard_D8s_v5": MachineSize(8, 32),
    "Standard_NC4as_T4_v3": MachineSize(4, 28, 1, "Tesla-T4"),
    "Standard_NC8as_T4_v3": MachineSize(8, 56, 1, "Tesla-T4"),
    "Standard_NC16as_T4_v3": MachineSize(16, 110, 1, "Tesla-T4"),
    "Standard_NC64as_T4_v3": MachineSize(64, 440, 4, "Tesla-T4"),
    "Standard_NC24ads_A100_v4": MachineSize(24, 220, 1, "A100"),
    "Standard_NC48ads_A100_v4": MachineSize(48, 440, 2, "A100"),
}


def named(size: str) -> MachineSize | None:
    """The size called ``size``; Azure compares such names without regard to case."""
    return next((machine for name, machine in SIZES.items() if name.lower() == size.lower()), None)
