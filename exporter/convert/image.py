"""``classify_image``: from the bytes of an image file to the names of its classes, all in the graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from exporter.convert import inference
from exporter.convert.interface import Interface
from exporter.convert.pixels import Pixels
from exporter.convert.served import Arrays
from exporter.errors import BadOptions, Stage
from exporter.manifest import Image, Inferable, TensorSpec
from exporter.options import ExportOptions, ImageOptions, Scaling

SIGNATURE = "classify_image"
IMAGE_BYTES, LABELS, SCORES = "image_bytes", "labels", "scores"
LABEL_FILE = "labels.txt"


@dataclass(frozen=True)
class Classifier:
    """An image classifier: what its input is, what its output means, the labels and how many of them to return."""

    pixels: Pixels
    logits: bool
    inferred: tuple[Inferable, ...]
    """What was found out, and not given."""
    classes: int
    labels: tuple[str, ...]
    top: int

    @property
    def image(self) -> Image:
        """As the manifest has it."""
        plan = self.pixels
        return Image(
            height=plan.height,
            width=plan.width,
            channels=plan.channels,
            scaling=plan.scaling,
            logits=self.logits,
            inferred=list(self.inferred),
        )

    def probabilities(self, output: Any) -> Any:
        """The model's output [N, classes] to float32 [N, labels]."""
        output = tf.cast(output, tf.float32)
        if self.classes == 1:
            positive = tf.sigmoid(output) if self.logits else output
            return tf.concat([1.0 - positive, positive], axis=1)
        return tf.nn.softmax(output) if self.logits else output

    @property
    def returned(self) -> int:
        """How many classes one answer has."""
        return min(self.top, len(self.labels))


def classifier(
    model: keras.Model,
    face: Interface,
    labels: tuple[str, ...],
    options: ExportOptions,
    answer: Callable[[Pixels], Arrays],
) -> Classifier:
    """How ``model`` classifies images; ``answer`` gives its outputs for some images of a size, with channels and scaling.

    Raises:
        BadOptions: it is no image classifier, or the labels or the image options do not fit it.
    """
    fitting = _Fitting(labels, options, lambda: inference.scaling(model), partial(inference.logits, model))
    return fitting.classifier(list(face.inputs.values()), answer)


def classifier_of_signature(
    inputs: Mapping[str, TensorSpec],
    labels: tuple[str, ...],
    options: ExportOptions,
    answer: Callable[[Pixels], Arrays],
) -> Classifier:
    """How a signature classifies images, of which nothing is known but its inputs and what it answers.

    Raises:
        BadOptions: as ``classifier`` does, or the scaling is not given, which a graph does not tell.
    """
    fitting = _Fitting(labels, options, _unknown_scaling, inference.are_logits)
    return fitting.classifier([tf.TensorSpec(spec.shape, spec.dtype) for spec in inputs.values()], answer)


@dataclass(frozen=True)
class _Fitting:
    """Labels and options, and how to find out what the options leave open."""

    labels: tuple[str, ...]
    options: ExportOptions
    own_scaling: Callable[[], Scaling]
    own_logits: Callable[[np.ndarray[Any, Any]], bool]

    def classifier(self, inputs: list[tf.TensorSpec], answer: Callable[[Pixels], Arrays]) -> Classifier:
        given = self.options.image or ImageOptions()
        pixels = self._pixels(_image_input(inputs), given)
        output = _one_score_a_class(answer(pixels))
        classes = int(output.shape[1])
        if len(self.labels) != max(classes, 2):
            wanted = "two labels (one unit tells two classes apart)" if classes == 1 else f"{classes} labels"
            raise _bad(
                f"There are {len(self.labels)} labels, and the model's output needs {wanted}.", code="label_count"
            )
        logits = self.options.logits if self.options.logits is not None else self.own_logits(output)
        inferred = tuple(name for name, value in _given(given, self.options).items() if value is None)
        return Classifier(pixels, logits, inferred, classes, self.labels, self.options.top)

    def _pixels(self, spec: tf.TensorSpec, given: ImageOptions) -> Pixels:
        own_height, own_width, channels = spec.shape[1:]
        height, width = _side("height", given.height, own_height), _side("width", given.width, own_width)
        scaling = given.scaling or self.own_scaling()
        if scaling in (Scaling.CAFFE, Scaling.TORCH) and channels != 3:
            raise _bad(f"image.scaling: {scaling} is for three channels, and the model takes {channels}.")
        return Pixels(height, width, channels, scaling, spec.dtype)


def label_table(labels: Sequence[str], directory: Path) -> tf.lookup.StaticHashTable:
    """A table from a class's index to its label, read from an asset of the servable."""
    file = directory / LABEL_FILE
    write_labels(labels, file)
    initializer = tf.lookup.TextFileInitializer(
        str(file),
        key_dtype=tf.int64,
        key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        value_dtype=tf.string,
        value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
    )
    return tf.lookup.StaticHashTable(initializer, default_value="")


def write_labels(labels: Sequence[str], file: Path) -> None:
    """Writes the asset: one label a line."""
    file.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")


def trace(serve: Any, how: Classifier, table: tf.lookup.StaticHashTable) -> Any:
    """The concrete function of ``classify_image``, which calls that of ``serving_default`` and does not repeat it."""

    def classify_image(image_bytes: Any) -> dict[str, Any]:
        return ranked(how, next(iter(serve(how.pixels.decoded(image_bytes)).values())), table.lookup)

    signature = [tf.TensorSpec([None], tf.string, name=IMAGE_BYTES)]
    return tf.function(
        classify_image, input_signature=signature, autograph=False, jit_compile=False
    ).get_concrete_function()


def ranked(how: Classifier, output: Any, label_of: Callable[[Any], Any]) -> dict[str, Any]:
    """The model's output [N, classes] to the outputs of ``classify_image``; ``label_of`` takes int64 indices."""
    scores, indices = tf.math.top_k(how.probabilities(output), how.returned)
    return {LABELS: label_of(tf.cast(indices, tf.int64)), SCORES: scores}


def expected(how: Classifier, output: np.ndarray[Any, Any]) -> tuple[Arrays, bool]:
    """What ``classify_image`` should answer where the model answers ``output``, and whether the order is clear."""
    probabilities = how.probabilities(output).numpy()
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    top = how.returned
    gaps = np.abs(np.diff(ranked[:, : top + 1], axis=1))
    names = np.array([[how.labels[index].encode() for index in row[:top]] for row in order], dtype=object)
    clear = bool(gaps.size == 0 or gaps.min() > 4e-3 + 2e-2 * ranked[:, 0].max())
    return {LABELS: names, SCORES: ranked[:, :top].astype(np.float32)}, clear


def _image_input(specs: list[tf.TensorSpec]) -> tf.TensorSpec:
    if len(specs) != 1 or specs[0].shape.rank != 4 or not specs[0].dtype.is_floating:
        taken = ", ".join(f"{spec.dtype.name} of shape {spec.shape}" for spec in specs) or "nothing"
        raise _no_classifier(f"it does not take one batch of images in floating point, but {taken}")
    if specs[0].shape[3] not in (1, 3, 4):
        raise _no_classifier(f"its input {specs[0].shape} has no 1, 3 or 4 channels in the last dimension")
    if specs[0].shape[0] is not None:
        raise _no_classifier(f"its batch size is fixed to {specs[0].shape[0]}")
    return specs[0]


def _one_score_a_class(outputs: Arrays) -> np.ndarray[Any, Any]:
    found = list(outputs.values())
    if len(found) != 1 or found[0].ndim != 2 or not tf.as_dtype(found[0].dtype).is_floating:
        given = ", ".join(f"{tf.as_dtype(array.dtype).name} of shape {array.shape}" for array in found)
        raise _no_classifier(f"it does not give one score for each class, but {given}")
    return found[0]


def _unknown_scaling() -> Scaling:
    raise _bad(
        "A SavedModel does not tell how its images are scaled, so image.scaling has to be given with the labels: "
        "unit (0 to 1), tf (-1 to 1), caffe, torch, or none, where the model scales them itself.",
        code="image_scaling",
    )


def _given(image: ImageOptions, options: ExportOptions) -> dict[Inferable, object]:
    return {"height": image.height, "width": image.width, "scaling": image.scaling, "logits": options.logits}


def _side(name: str, given: int | None, own: int | None) -> int:
    match given, own:
        case None, None:
            raise _bad(
                "The model takes images of any size, so image.height and image.width have to be given.",
                code="image_size",
            )
        case None, int(size):
            return size
        case int(size), None:
            return size
        case int(size), int(fixed) if size == fixed:
            return size
        case _:
            raise _bad(f"image.{name}: the model takes {own} pixels, not {given}.", code="image_size")


def _no_classifier(why: str) -> BadOptions:
    return _bad(f"Labels were given, but the model is no image classifier: {why}.", code="no_image_classifier")


def _bad(message: str, *, code: str | None = None) -> BadOptions:
    hint = "Correct the options or the label file beside the model, or leave them out."
    return BadOptions(message, hint=hint, stage=Stage.TRACE, code=code)
