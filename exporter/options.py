"""The options of ``NAME.yaml`` that change what is exported. The deployer reads the rest."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Scaling(StrEnum):
    """How a model wants pixel values of 0 to 255, under the names that Keras's ``preprocess_input`` uses."""

    UNIT = "unit"
    """0 to 1"""
    TF = "tf"
    """-1 to 1"""
    CAFFE = "caffe"
    """BGR, less the ImageNet mean, not scaled"""
    TORCH = "torch"
    """0 to 1, then less the ImageNet mean, by the ImageNet deviation"""
    NONE = "none"
    """as they are; the model does it itself"""


Side = Annotated[int, Field(ge=1, le=16384, description="pixels")]
Label = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f]+$")]


class ImageOptions(BaseModel):
    """How an image becomes the model's input. What is not given is taken from the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    height: Side | None = None
    width: Side | None = None
    scaling: Scaling | None = None


class ExportOptions(BaseModel):
    """What changes the exported servable; two uploads that differ in one of these are two versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: Label | Annotated[tuple[Label, ...], Field(min_length=1)] | None = Field(
        default=None, description="a file beside the model or inside its archive, or the names themselves"
    )
    image: ImageOptions | None = None
    logits: bool | None = Field(default=None, description="the model's output needs softmax (one unit: sigmoid)")
    top: int = Field(default=5, ge=1, description="classes that classify_image returns at most")
