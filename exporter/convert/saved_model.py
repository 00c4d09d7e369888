"""A SavedModel, which already is a servable: unpacked, repackaged, warmed up, proven to load and answer.

Its graph and its variables stay as they are; an image classifier with labels gets ``classify_image`` (``attached``).
"""

import shutil
from collections.abc import Container
from pathlib import Path

import numpy as np
import tensorflow as tf

from exporter.convert import attached, drawing, image, parity, vocabulary, warmup
from exporter.convert.drawing import Known
from exporter.convert.golden import FEW, golden
from exporter.convert.lean import SERVING_DEFAULT
from exporter.convert.loading import unpacked
from exporter.convert.made import Enter, Made
from exporter.convert.reasons import reason
from exporter.convert.served import Arrays, Served
from exporter.errors import ConversionFailed, Stage
from exporter.job import Job
from exporter.manifest import Golden, Signature

_FILES = ("saved_model.pb", "fingerprint.pb")
_FOLDERS = ("variables", "assets", "assets.extra")

_Answers = dict[tuple[str, int], tuple[Arrays, Arrays]]
"""Inputs and outputs by signature and batch size."""


def repackage(job: Job, target: Path, enter: Enter) -> Made:
    """Copies the files that TensorFlow Serving reads, and adds ``classify_image`` if there are labels, and warm-up requests.

    Keras never sees them, and nothing but signatures is run.

    Raises:
        BadOptions: there are labels, and it is no image classifier, or they do not fit it.
        ConversionFailed: it does not load, or its default signature does not answer.
        ParityFailed: the copy answers otherwise than the original.
    """
    enter(Stage.LOAD)
    source = unpacked(job)
    how = None
    with Served(source) as original:
        own = sorted(original.signatures)
        known = _known(original, source)
        before, repeatable = _answers(original, own, known)
        _require_numbers(before)
        if job.labels is not None:
            enter(Stage.TRACE)
            how = attached.classifier(original, job.labels, job.options)
            of_images = attached.answers(original, how)
    enter(Stage.WRITE)
    _copy(source, target)
    if how is not None:
        attached.write(target, how)
    enter(Stage.VERIFY)
    with Served(target, optimized=True) as copy:  # as graphs of any making come here, unlike those of ``serving_graph``
        signatures = copy.signatures
        after, _ = _answers(copy, own, known, before.keys())
        if how is not None:
            after |= {(image.SIGNATURE, size): attached.ask(copy, *asked) for size, asked in of_images.items()}
            before |= {(image.SIGNATURE, size): asked for size, asked in of_images.items()}
        _warm_up(copy, target, _warmups(before, signatures) if repeatable else {})
    tolerance = parity.tolerance_of(
        tensor.dtype for signature in signatures.values() for tensor in signature.outputs.values()
    )
    differences = [
        parity.compare(outputs, after[key][1], tolerance, f"{key[0]}, batch of {key[1]}")
        for key, (_, outputs) in before.items()
    ]
    return Made(
        signatures=signatures,
        image=how.image if how else None,
        golden=_golden(before) if repeatable else [],  # a counter's answer proves nothing, and asking changes it
        parity=parity.summary(differences, sorted({size for _, size in before}), tolerance),
    )


def _known(served: Served, source: Path) -> Known:
    """Words, if there is a signature that takes any."""
    inputs = (spec for signature in served.signatures.values() for spec in signature.inputs.values())
    takes_strings = any(spec.dtype == "string" for spec in inputs)
    return Known(words=vocabulary.words_of_saved_model(source)) if takes_strings else Known()


def _require_numbers(answers: _Answers) -> None:
    """Of the signature that clients call unless they name another; what others are for is not known."""
    parity.require_numbers(outputs for (name, _), (_, outputs) in answers.items() if name == SERVING_DEFAULT)


def _warm_up(served: Served, directory: Path, requests: dict[str, Arrays]) -> None:
    """Replays the requests that came with the model, and puts those before them that are about what is new in it."""
    file = directory / warmup.FILE
    recorded = warmup.replay(served, directory)
    if not file.exists():
        warmup.write(directory, requests)
    elif image.SIGNATURE in requests and recorded < warmup.MOST_RECORDS:
        came_with_it = file.rename(file.with_suffix(".own"))
        warmup.write(directory, {image.SIGNATURE: requests[image.SIGNATURE]})
        with came_with_it.open("rb") as old, file.open("ab") as new:  # records follow each other, with nothing around
            shutil.copyfileobj(old, new)
        came_with_it.unlink()


def _golden(answers: _Answers) -> list[Golden]:
    """The smallest request of each signature; beside one with an image those of numbers only if they are short."""
    smallest = dict(sorted(answers, key=lambda key: -key[1]))
    exchanges = [
        (name, *answers[name, size])
        for name, size in sorted(smallest.items())
        if image.SIGNATURE not in (smallest.keys() - {name})
        or sum(array.size for array in answers[name, size][0].values()) <= FEW
    ]
    return [made for name, inputs, outputs in exchanges for made in golden(name, inputs, outputs)]


def _warmups(answers: _Answers, signatures: dict[str, Signature]) -> dict[str, Arrays]:
    """The smallest request of each signature that answered one, by the name of the signature."""
    largest_first = sorted(answers.items(), key=lambda answer: -answer[0][1])
    return {name: inputs for (name, _), (inputs, _) in largest_first if signatures[name].method == warmup.PREDICT}


def _copy(source: Path, target: Path) -> None:
    """Copies content alone, not rights: warm-up requests are added to a folder that may have been read-only."""
    target.mkdir()
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    for folder in (source / name for name in _FOLDERS if (source / name).is_dir()):
        (target / folder.name).mkdir()
        for entry in sorted(folder.rglob("*")):  # a folder comes before what is in it
            copy = target / entry.relative_to(source)
            if entry.is_dir():
                copy.mkdir()
            else:
                shutil.copyfile(entry, copy)


def _answers(
    served: Served, signatures: list[str], known: Known, wanted: Container[tuple[str, int]] = ()
) -> tuple[_Answers, bool]:
    """What these signatures answer to seeded inputs, and whether they answer the same when asked again.

    Inputs can be made up for a signature of numbers in known shapes: such a one has to answer. For others (serialized
    Examples, open dimensions, indices into a vocabulary) it is enough that the graph is whole. What is ``wanted`` has been
    answered by the original, and has to be.
    """
    answers: _Answers = {}
    repeatable = True
    for name in signatures:
        signature = served.signatures[name]
        for size in parity.batch_sizes(signature.inputs.values()):
            inputs = drawing.inputs_for(signature.inputs, size, known)
            try:
                outputs = served.run(name, inputs)
                again = served.run(name, inputs)
            except (tf.errors.FailedPreconditionError, tf.errors.NotFoundError) as error:
                raise _does_not_answer(name, error) from error  # a variable, table or kernel is not there
            except (tf.errors.OpError, ValueError) as error:
                if (name, size) in wanted or _must_answer(signature):
                    raise _does_not_answer(name, error) from error
            else:
                answers[name, size] = inputs, outputs
                repeatable = repeatable and _same(outputs, again)
    return answers, repeatable


def _same(left: Arrays, right: Arrays) -> bool:
    return all(np.array_equal(left[name], right[name], equal_nan=left[name].dtype.kind == "f") for name in left)


def _must_answer(signature: Signature) -> bool:
    return signature.method == warmup.PREDICT and all(
        spec.shape is not None
        and None not in spec.shape[1:]
        and spec.dtype != "string"
        and np.issubdtype(tf.as_dtype(spec.dtype).as_numpy_dtype, np.floating)
        for spec in signature.inputs.values()
    )


def _does_not_answer(signature: str, error: Exception) -> ConversionFailed:
    return ConversionFailed(
        f"The signature '{signature}' does not answer: {reason(error)}",
        hint="Check it where the model was made, with saved_model_cli run.",
        stage=Stage.VERIFY,
        code="does_not_answer",
    )
