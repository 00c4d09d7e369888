"""What the calling process and the converting one say to each other.

A ``Job`` goes to the server's standard input as one line of JSON; ``Message`` lines come back. What a conversion found
out stands in ``OUTCOME`` in the job's directory, next to the servable itself.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from exporter import errors
from exporter.errors import ExportError, Stage
from exporter.formats import Packaging, SourceFormat
from exporter.keras_scan import Loader
from exporter.limits import Limits, ScanBounds
from exporter.manifest import Golden, Image, Parity, Sandbox, Signature
from exporter.options import ExportOptions

OUTCOME = "outcome.json"
SERVABLE = "servable"
LOG = "log"
SCRATCH = "tmp"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Frozen):
    """One conversion. ``directory`` is its own and removed by the caller; paths are absolute."""

    directory: str
    source: str
    format: SourceFormat
    packaging: Packaging
    root: str
    loader: Loader
    allowed_layers: frozenset[str]
    options: ExportOptions
    labels: tuple[str, ...] | None
    limits: Limits
    bounds: ScanBounds


class Ready(_Frozen):
    """The worker has paid for its imports."""

    event: Literal["ready"] = "ready"


class Broken(_Frozen):
    """The worker cannot work, as TensorFlow does not import."""

    event: Literal["broken"] = "broken"
    reason: str


class Entered(_Frozen):
    """A conversion has entered a stage."""

    event: Literal["entered"] = "entered"
    stage: Stage


class Ended(_Frozen):
    """The process of a conversion is gone."""

    event: Literal["ended"] = "ended"
    exit_code: int
    """Negative: the signal that ended it."""
    timed_out: bool
    peak_rss_bytes: int


Message = Annotated[Ready | Broken | Entered | Ended, Field(discriminator="event")]
MESSAGE: TypeAdapter[Ready | Broken | Entered | Ended] = TypeAdapter(Message)


class Converted(_Frozen):
    """A servable was written and answers as its source does."""

    kind: Literal["converted"] = "converted"
    tensorflow: str
    keras: str
    signatures: dict[str, Signature]
    image: Image | None
    golden: list[Golden]
    parity: Parity
    timings: dict[Stage, float]
    sandbox: Sandbox | None = None


class Failed(_Frozen):
    """The conversion ended in an error of ours."""

    kind: Literal["failed"] = "failed"
    error: str
    stage: Stage
    code: str
    message: str
    hint: str
    permanent: bool

    @classmethod
    def of(cls, error: ExportError) -> "Failed":
        """The error as it is written down by the converting process."""
        return cls(
            error=type(error).__name__,
            stage=error.stage,
            code=error.code,
            message=error.message,
            hint=error.hint,
            permanent=error.permanent,
        )

    def error_of_caller(self) -> ExportError:
        """The same error, to be raised by the calling process."""
        kinds: tuple[type[ExportError], ...] = (
            errors.NotAModel,
            errors.Unsupported,
            errors.ScanRefused,
            errors.BadOptions,
            errors.ParityFailed,
            errors.OutOfMemory,
        )
        kind = next((kind for kind in kinds if kind.__name__ == self.error), errors.ConversionFailed)
        return kind(self.message, hint=self.hint, stage=self.stage, code=self.code, permanent=self.permanent)


OUTCOME_TYPE: TypeAdapter[Converted | Failed] = TypeAdapter(Annotated[Converted | Failed, Field(discriminator="kind")])
