"""What can go wrong on the way from a model file to a servable.

::

    ExportError                  where (stage), what (message), what to do (hint), whether it repeats (permanent)
    ├── NotAModel                the bytes are no model of a kind that is known
    ├── Unsupported              a model, but of a kind that is not converted
    ├── ScanRefused              it carries something that could run code or harm the machine; ``findings`` lists where
    ├── BadOptions               the options or labels do not fit the model
    ├── ConversionFailed         it could not be loaded, traced, written or read back
    ├── ParityFailed             the servable does not answer as the source does
    ├── OutOfMemory              it needs more memory than a conversion may have, or than the machine had
    ├── TimedOut                 it took longer than a conversion may
    ├── Crashed                  the converting process died
    └── WorkerUnavailable        no converting process could be had; nothing is known about the model

``permanent`` errors repeat on the same bytes and options; the others may heal: let the platform retry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Stage(StrEnum):
    """A step of an export, as timed in ``servable.json`` and told to ``on_stage``."""

    SCAN = "scan"
    LOAD = "load"
    TRACE = "trace"
    WRITE = "write"
    VERIFY = "verify"


@dataclass(frozen=True)
class Finding:
    """One thing that a scan objects to, and its place in the file."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class ExportError(Exception):
    """Why a model did not become a servable."""

    default_code: ClassVar[str] = "export_failed"
    default_permanent: ClassVar[bool] = True

    def __init__(
        self, message: str, *, hint: str, stage: Stage, code: str | None = None, permanent: bool | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.stage = stage
        self.code = self.default_code if code is None else code
        self.permanent = self.default_permanent if permanent is None else permanent

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


class NotAModel(ExportError):
    """The bytes are no model of a kind that is known."""

    default_code = "not_a_model"


class Unsupported(ExportError):
    """A model, but of a kind that is not converted."""

    default_code = "unsupported"


class ScanRefused(ExportError):
    """The file carries something that could run code or harm the machine that reads it."""

    default_code = "refused_by_scan"

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        stage: Stage = Stage.SCAN,
        code: str | None = None,
        permanent: bool | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        super().__init__(message, hint=hint, stage=stage, code=code, permanent=permanent)
        self.findings = tuple(findings)


class BadOptions(ExportError):
    """The options or labels do not fit the model."""

    default_code = "bad_options"


class ConversionFailed(ExportError):
    """The model could not be loaded, traced, written or read back."""

    default_code = "conversion_failed"


class ParityFailed(ExportError):
    """The written servable does not answer as its source does."""

    default_code = "parity_failed"


class OutOfMemory(ExportError):
    """The conversion needs more memory than it may have, or than the machine had."""

    default_code = "out_of_memory"


class TimedOut(ExportError):
    """The conversion took longer than it may; on a less busy machine it might not."""

    default_code = "timed_out"
    default_permanent = False


class Crashed(ExportError):
    """The converting process died."""

    default_code = "crashed"


class WorkerUnavailable(ExportError):
    """No converting process could be had; nothing is known about the model."""

    default_code = "worker_unavailable"
    default_permanent = False
