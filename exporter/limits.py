"""What one scan and one conversion may take of the machine."""

from pydantic import BaseModel, ConfigDict, Field

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class ScanBounds(BaseModel):
    """How large the parts of a file may be before it is refused unread."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(
        default=10_000, description="files in an archive or directory; the largest SavedModels have hundreds"
    )
    unpacked_bytes: int = Field(default=8 * GIB, description="of all members together, as declared")
    ratio: int = Field(
        default=200, description="unpacked to packed, for members over 1 MiB; weights hardly compress at all"
    )
    config_bytes: int = Field(default=64 * MIB, description="of config.json; a Keras application has some hundred KiB")
    graph_bytes: int = Field(default=1 * GIB, description="of saved_model.pb; protobuf itself ends at 2 GiB")
    labels_bytes: int = Field(default=4 * MIB, description="of a label file")


class Limits(BaseModel):
    """What the converting process may take. Enforced by the kernel on Linux, and in part elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wall_seconds: float = Field(
        default=480, gt=0, description="below the ten minutes that Azure gives a function by default"
    )
    cpu_seconds: int = Field(default=900, gt=0, description="over all threads")
    memory_bytes: int = Field(default=8 * GIB, gt=0, description="address space beyond what importing TensorFlow took")
    file_bytes: int = Field(default=8 * GIB, gt=0, description="of any one file written")
    open_files: int = Field(default=1024, gt=0, description="at once")
    turn_seconds: float = Field(
        default=600, gt=0, description="waiting for conversions of the same process that came first"
    )
