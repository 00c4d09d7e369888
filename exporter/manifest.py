"""``servable.json``: what is known of a servable, beside its saved_model.pb, for whoever publishes and proves it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from exporter.options import Scaling

FILE_NAME = "servable.json"
Inferable = Literal["height", "width", "scaling", "logits"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class TensorSpec(_Record):
    """A tensor by TensorFlow's dtype name and its shape: None for an unknown dimension, None for an unknown rank."""

    dtype: str
    shape: list[int | None] | None


class Signature(_Record):
    """A SignatureDef: its method name, inputs and outputs."""

    method: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class SourceInfo(_Record):
    """The model file that the servable was made from."""

    name: str
    format: Literal["keras", "saved_model"]
    sha256: str
    bytes: int
    keras_version: str | None


class ExporterInfo(_Record):
    """The versions that made the servable."""

    slipway: str
    tensorflow: str
    keras: str


class Image(_Record):
    """How ``classify_image`` prepares an image; ``inferred`` names what was not given but found in the model."""

    height: int
    width: int
    channels: int
    scaling: Scaling
    logits: bool
    inferred: list[Inferable]


class Golden(_Record):
    """A request and its answer in the column format of TensorFlow Serving's REST API, to prove a rollout with.

    The tolerances are wider than those of the export's own check, as the answer may come from other hardware. An output
    that other hardware may rightly answer otherwise (the order of nearly equal classes) is left out.
    """

    signature: str
    inputs: dict[str, JsonValue]
    outputs: dict[str, JsonValue]
    rtol: float
    atol: float


class Parity(_Record):
    """How far the servable's outputs were from the source's, at most, over all signatures and batch sizes."""

    max_abs_error: float
    max_rel_error: float
    batch_sizes: list[int]
    rtol: float
    atol: float


class Sandbox(_Record):
    """What the converting process could reach of the machine; the kernel decides how much it may be denied."""

    network: Literal["none", "reachable"]
    processes: Literal["none", "possible"]
    """Whether it could start any, or signal or look into others."""
    files: Literal["confined", "reachable"]
    """Confined: the interpreter's, the system's libraries and the model to read, its own directory to write."""


class FileDigest(_Record):
    """One file of the servable."""

    sha256: str
    bytes: int


class Manifest(_Record):
    """The whole of ``servable.json``."""

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    source: SourceInfo
    exporter: ExporterInfo
    signatures: dict[str, Signature]
    image: Image | None
    labels: tuple[str, ...] | None
    top: int
    golden: list[Golden]
    parity: Parity
    files: dict[str, FileDigest]
    bytes: int
    timings: dict[str, float]
    sandbox: Sandbox | None = None
    """None in what was made before it was recorded."""
    identity: str | None = None
    """The digest of content and options that the servable was made of: the same gives an equal servable."""

    def write(self, directory: Path) -> None:
        """Writes the manifest into a servable's directory."""
        (directory / FILE_NAME).write_text(self.model_dump_json(by_alias=True) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """The manifest of a servable's directory.

        Raises:
            OSError: there is none.
            pydantic.ValidationError: it is none of this schema.
        """
        return cls.model_validate_json((directory / FILE_NAME).read_bytes())
