"""A Keras file to a lean servable: load, trace, write, and compare with the model itself."""

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from exporter.convert import drawing, image, lean, loading, memory, parity, vocabulary, warmup
from exporter.convert.drawing import Known
from exporter.convert.golden import FEW, golden
from exporter.convert.image import Classifier
from exporter.convert.inference import scales_itself
from exporter.convert.interface import Interface
from exporter.convert.lean import SERVING_DEFAULT
from exporter.convert.made import Enter, Made
from exporter.convert.parity import Tolerance
from exporter.convert.pixels import Pixels
from exporter.convert.reasons import reason
from exporter.convert.served import Arrays, Served
from exporter.convert.serving_graph import LabelTable
from exporter.convert.warmup import Replayed
from exporter.errors import ConversionFailed, ParityFailed, Stage
from exporter.job import Job
from exporter.manifest import Golden


@dataclass(frozen=True)
class _Exchange:
    """What the source answers: to be asked of the servable."""

    signature: str
    inputs: Arrays
    outputs: Arrays
    unsure: frozenset[str] = frozenset()
    """Outputs that other hardware may rightly answer otherwise."""

    def sure_outputs(self) -> Arrays:
        """The others."""
        return {name: value for name, value in self.outputs.items() if name not in self.unsure}


@dataclass(frozen=True)
class _Written:
    exchanges: list[_Exchange]
    tolerance: Tolerance
    sizes: list[int]
    how: Classifier | None


def convert(job: Job, target: Path, enter: Enter) -> Made:
    """Makes the servable of a ``.keras`` or HDF5 file.

    Raises:
        ExportError: it does not load, does not fit its labels, or the servable answers otherwise than the model.
    """
    written = _write(job, target, enter)
    gc.collect()  # the model's weights, before the servable's are read
    memory.give_back()
    enter(Stage.VERIFY)
    return _verify(written, target)


def _write(job: Job, target: Path, enter: Enter) -> _Written:
    """The model lives in here only, so that it is gone when the servable is read back."""
    enter(Stage.LOAD)
    model, face = loading.load(job)
    enter(Stage.TRACE)
    how = None
    if job.labels is None:
        sizes = parity.batch_sizes(face.specs().values())
        exchanges = _answers(face, sizes, _known(model))
    else:
        sizes = list(parity.BATCH_SIZES)
        about = cache(partial(_answered_about_images, face))
        how = image.classifier(model, face, job.labels, job.options, lambda pixels: about(pixels, 1).outputs)
        exchanges = [each for size in sizes for each in _of_both(how, about(how.pixels, size), size)]
    functions, labels = _functions(face, how, Path(job.directory))
    enter(Stage.WRITE)
    lean.write(model, functions, labels, target)
    dtypes = {layer.compute_dtype for layer in model.layers} | {spec.dtype.name for spec in face.inputs.values()}
    outputs = {tf.as_dtype(array.dtype).name for exchange in exchanges for array in exchange.outputs.values()}
    return _Written(exchanges, parity.tolerance_of(dtypes | outputs), sizes, how)


def _functions(face: Interface, how: Classifier | None, directory: Path) -> tuple[dict[str, Any], list[LabelTable]]:
    """The traced signatures by name, and what holds the labels."""
    serve = tf.function(
        face.call, input_signature=list(face.inputs.values()), autograph=False, jit_compile=False
    ).get_concrete_function()
    if how is None:
        return {SERVING_DEFAULT: serve}, []
    table = image.label_table(how.labels, directory)
    functions = {SERVING_DEFAULT: serve, image.SIGNATURE: image.trace(serve, how, table)}
    return functions, [LabelTable(table, directory / image.LABEL_FILE)]


def _answered(face: Interface, inputs: Arrays) -> _Exchange:
    """What the model itself, called without any graph, answers."""
    try:
        outputs = face.call(*(tf.constant(inputs[name], face.inputs[name].dtype) for name in face.inputs))
    except (tf.errors.InvalidArgumentError, ValueError) as error:
        raise ConversionFailed(
            f"The model cannot answer for inputs of its own shapes: {reason(error)}",
            hint="Fix the dimensions of its Input layers that its layers do not leave open.",
            stage=Stage.TRACE,
            code="does_not_answer",
        ) from error
    return _Exchange(SERVING_DEFAULT, inputs, {name: np.asarray(value) for name, value in outputs.items()})


def _known(model: Any) -> Known:
    """What the model's own layers tell of its inputs."""
    return Known(
        highest=255.0 if scales_itself(model) else 1.0,
        integers=vocabulary.integers_of_model(model),
        words=vocabulary.words_of_model(model),
    )


def _answers(face: Interface, sizes: list[int], known: Known) -> list[_Exchange]:
    """The exchanges of several batch sizes, about inputs as far as the model takes them."""
    specs = face.specs()
    try:
        return [_answered(face, drawing.inputs_for(specs, size, known)) for size in sizes]
    except ConversionFailed:
        cautious = known.cautious()
        return [_answered(face, drawing.inputs_for(specs, size, cautious)) for size in sizes]


def _answered_about_images(face: Interface, pixels: Pixels, size: int) -> _Exchange:
    return _answered(face, {next(iter(face.inputs)): pixels.numbers(pixels.samples(size))})


def _of_both(how: Classifier, numbers: _Exchange, size: int) -> list[_Exchange]:
    """Asks both signatures about the same images."""
    outputs, clear = image.expected(how, next(iter(numbers.outputs.values())))
    unsure = frozenset() if clear else frozenset({image.LABELS})
    return [numbers, _Exchange(image.SIGNATURE, {image.IMAGE_BYTES: how.pixels.samples(size)}, outputs, unsure)]


def _verify(written: _Written, target: Path) -> Made:
    exchanges = written.exchanges
    parity.require_numbers(each.outputs for each in exchanges if each.signature == SERVING_DEFAULT)
    warmup.write(target, {each.signature: each.inputs for each in reversed(exchanges)})  # the smallest ones
    with Served(target) as served, ThreadPoolExecutor(2) as aside:
        replayed: list[Replayed] = []
        warmup.replay(served, target, replayed.append)
        answers = aside.map(partial(_served_answer, served, replayed), exchanges)
        differences = [
            _difference(exchange, answer, written.tolerance)
            for exchange, answer in zip(exchanges, answers, strict=True)
        ]
        signatures = served.signatures
    return Made(
        signatures=signatures,
        image=written.how.image if written.how else None,
        golden=_golden(exchanges),
        parity=parity.summary(differences, written.sizes, written.tolerance),
    )


def _served_answer(served: Served, replayed: list[Replayed], exchange: _Exchange) -> Arrays:
    for each in replayed:
        if each.asks(exchange.signature, exchange.inputs):
            return each.outputs
    try:
        return served.run(exchange.signature, exchange.inputs)
    except (tf.errors.OpError, ValueError, KeyError) as error:
        raise ParityFailed(
            f"The servable does not answer '{exchange.signature}': {reason(error)}",
            hint="It predicts where it was loaded, but not as TensorFlow Serving would run it: report this.",
            stage=Stage.VERIFY,
        ) from error


def _difference(exchange: _Exchange, answered: Arrays, tolerance: Tolerance) -> tuple[float, float]:
    """Compares all, but of nearly equal classes the scores only, as their order may rightly differ."""
    asked = {name: value for name, value in answered.items() if name not in exchange.unsure}
    return parity.compare(exchange.sure_outputs(), asked, tolerance, f"{exchange.signature}, seeded inputs")


def _golden(exchanges: list[_Exchange]) -> list[Golden]:
    """The first exchange of each signature: the image's if there is one; numbers beside it only if they are short."""
    first = {exchange.signature: exchange for exchange in reversed(exchanges)}
    of_images = _told(first[image.SIGNATURE]) if image.SIGNATURE in first else []
    numbers = first[SERVING_DEFAULT]
    if of_images and sum(array.size for array in numbers.inputs.values()) > FEW:
        return of_images
    return of_images + _told(numbers)


def _told(exchange: _Exchange) -> list[Golden]:
    return golden(exchange.signature, exchange.inputs, exchange.sure_outputs())
