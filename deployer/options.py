"""``NAME.yaml``: what a user may say about a model. Strictly read; every key is optional. Pure."""

from datetime import date, timedelta
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deployer.errors import UploadRefused
from deployer.windows import Window
from exporter import ExportOptions

Strategy = Literal["auto", "surge", "replace", "canary"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Replicas(_Strict):
    """How many pods serve a version; more than one value means autoscaling between them."""

    min: int = Field(1, ge=1)
    max: int = Field(1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _one_number(cls, value: Any) -> Any:
        return {"min": value, "max": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _ordered(self) -> "Replicas":
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        return self


class IdleOptions(_Strict):
    """When this model's pods may go."""

    after_minutes: float | None = Field(None, gt=0, le=525_600)  # a year
    min_awake_minutes: float | None = Field(None, ge=0, le=525_600)
    keep_awake: tuple[Window, ...] | None = None
    days_off: tuple[date, ...] | None = None

    @property
    def after(self) -> timedelta | None:
        """The time without a request after which the pods go; None means as the settings say."""
        return None if self.after_minutes is None else timedelta(minutes=self.after_minutes)

    @property
    def min_awake(self) -> timedelta | None:
        """The least time awake after a wake; None means as the settings say."""
        return None if self.min_awake_minutes is None else timedelta(minutes=self.min_awake_minutes)


class CanaryOptions(_Strict):
    """How a new version is tried beside the one that serves, where ``rollout`` is ``canary``."""

    share: float = Field(10, gt=0, le=100, description="per cent of the requests")
    minutes: float = Field(10, gt=0, le=1440, description="how long")
    max_error_rate: float = Field(0.01, ge=0, le=1, description="share of its requests that may fail")


class ServeOptions(_Strict):
    """How a version is served: changes of these need no new export."""

    gpus: int = Field(1, ge=0, description="GPUs a pod takes; 0 serves on CPU")
    replicas: Replicas = Replicas()
    rollout: Strategy = "auto"
    canary: CanaryOptions = CanaryOptions()
    accept_schema_change: bool = Field(False, description="clients are ready for other inputs, outputs or labels")
    keep_versions: int = Field(3, ge=1, description="versions whose servables are kept to go back to")
    idle: IdleOptions = IdleOptions()

    @property
    def rendered(self) -> str:
        """Those that shape a version's objects, as JSON: where they differ, the objects must be applied anew."""
        return self.model_dump_json(include={"gpus", "replicas"})


class ModelOptions(_Strict):
    """All of ``NAME.yaml``: what the exporter needs, and what serving needs."""

    export: ExportOptions
    serve: ServeOptions


# PyYAML lets some errors of its constructors through: of dates that do not exist, of tags on what they do not fit.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError)


def parse_options(text: str | None, *, where: str) -> ModelOptions:
    """Reads the options file ``where``; ``None`` means that there is none.

    Raises:
        UploadRefused: ``bad_options``, naming each key that is wrong and how.
    """
    if text is None:
        return ModelOptions(export=ExportOptions(), serve=ServeOptions())
    try:
        given = yaml.safe_load(text)
    except _UNREADABLE as error:
        raise _refused(where, f"it is not YAML: {error}") from error
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise _refused(where, f"it holds a {type(given).__name__} where key: value pairs belong")
    known = {**ExportOptions.model_fields, **ServeOptions.model_fields}
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise _refused(where, f"unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return ModelOptions(
            export=ExportOptions.model_validate({k: v for k, v in given.items() if k in ExportOptions.model_fields}),
            serve=ServeOptions.model_validate({k: v for k, v in given.items() if k in ServeOptions.model_fields}),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise _refused(where, wrong) from error


def _refused(where: str, what: str) -> UploadRefused:
    return UploadRefused(
        "bad_options",
        f"{where} cannot be used: {what}.",
        "Correct the file and upload it again; the keys are in the README.",
        stage="options",
    )
