"""A SavedModel, which already is a servable: unpacked, repackaged unchanged, and proven to load and answer."""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from exporter import archive
from exporter.convert import parity
from exporter.convert.golden import golden
from exporter.convert.made import Enter, Made
from exporter.convert.served import Arrays, Served
from exporter.errors import ConversionFailed, Stage
from exporter.formats import Packaging
from exporter.job import Job
from exporter.manifest import Signature

_FILES = ("saved_model.pb", "fingerprint.pb")
_FOLDERS = ("variables", "assets", "assets.extra")
_PREDICT = "tensorflow/serving/predict"

_Answers = dict[tuple[str, int], tuple[Arrays, Arrays]]
"""Inputs and outputs by signature and batch size."""


def repackage(job: Job, target: Path, enter: Enter) -> Made:
    """Copies the files that TensorFlow Serving reads; never loads them by Keras, nor runs anything but signatures.

    Raises:
        ConversionFailed: it does not load, or its default signature does not answer.
        ParityFailed: the copy answers otherwise than the original.
    """
    enter(Stage.LOAD)
    source = Path(job.source)
    if job.packaging is Packaging.ZIP:
        source = Path(job.directory) / "unpacked"
        archive.extract(Path(job.source), root=job.root, into=source, bounds=job.bounds)
    with Served(source) as original:
        before = _answers(original)
    enter(Stage.WRITE)
    _copy(source, target)
    enter(Stage.VERIFY)
    with Served(target) as copy:
        after = _answers(copy)
        signatures = copy.signatures
    tolerance = parity.tolerance_of(
        tensor.dtype for signature in signatures.values() for tensor in signature.outputs.values()
    )
    differences = [
        parity.compare(outputs, after[key][1], tolerance, f"{key[0]}, batch of {key[1]}")
        for key, (_, outputs) in before.items()
    ]
    smallest = dict(sorted(before, key=lambda key: -key[1]))
    exchanges = [(name, *before[name, size]) for name, size in sorted(smallest.items(), reverse=True)]
    return Made(
        signatures=signatures,
        image=None,
        golden=[made for name, inputs, outputs in exchanges for made in golden(name, inputs, outputs)],
        parity=parity.summary(differences, sorted({size for _, size in before}), tolerance),
    )


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    for name in _FOLDERS:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, copy_function=shutil.copyfile)


def _answers(served: Served) -> _Answers:
    """What the signatures answer to seeded inputs.

    Inputs can be made up for a signature of numbers in known shapes: such a one has to answer. For others (serialized
    Examples, open dimensions, indices into a vocabulary) it is enough that TensorFlow Serving loads them, and that a
    refusal is about the values.
    """
    answers: _Answers = {}
    for name, signature in served.signatures.items():
        for size in parity.batch_sizes(signature.inputs.values()):
            inputs = parity.inputs_for(signature.inputs, size)
            try:
                answers[name, size] = inputs, served.run(name, inputs)
            except (tf.errors.InvalidArgumentError, ValueError) as error:
                if _must_answer(signature):
                    raise _does_not_answer(name, error) from error
            except tf.errors.OpError as error:
                raise _does_not_answer(name, error) from error
    return answers


def _must_answer(signature: Signature) -> bool:
    return signature.method == _PREDICT and all(
        spec.shape is not None
        and None not in spec.shape[1:]
        and spec.dtype != "string"
        and np.issubdtype(tf.as_dtype(spec.dtype).as_numpy_dtype, np.floating)
        for spec in signature.inputs.values()
    )


def _does_not_answer(signature: str, error: Exception) -> ConversionFailed:
    return ConversionFailed(
        f"The signature '{signature}' does not answer: {str(error).splitlines()[0][:500]}",
        hint="Check it where the model was made, with saved_model_cli run.",
        stage=Stage.VERIFY,
        code="does_not_answer",
    )
