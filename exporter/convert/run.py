"""One conversion, from a scanned source to a verified servable in the job's directory.

1. load     the Keras model, without its training state; or unpack the SavedModel, which Keras never sees
2. trace    the signatures, and the source's own answers to seeded inputs
3. write    each weight once; or the SavedModel's own files as they are
4. verify   read it back as TensorFlow Serving does, and compare its answers with the source's
"""

import time
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from exporter.convert import keras_model, saved_model
from exporter.errors import Stage
from exporter.job import SERVABLE, Converted, Job
from exporter.keras_scan import Loader


class Clock:
    """Says which stage is entered, and keeps how long each took."""

    def __init__(self, entered: Callable[[Stage], None]) -> None:
        self._entered = entered
        self._current: tuple[Stage, float] | None = None
        self.seconds: dict[Stage, float] = {}

    def enter(self, stage: Stage | None) -> None:
        """Ends the current stage and begins ``stage``, or none."""
        now = time.monotonic()
        if self._current is not None:
            ended, since = self._current
            self.seconds[ended] = round(now - since, 4)
        self._current = None if stage is None else (stage, now)
        if stage is not None:
            self._entered(stage)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory was what an error of Python or TensorFlow lacked; a thread needs some for its stack."""
    no_thread = isinstance(error, RuntimeError) and str(error) == "can't start new thread"
    return no_thread or isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)


def convert(job: Job, entered: Callable[[Stage], None]) -> Converted:
    """Makes the servable of ``job`` and says what is in it.

    Raises:
        ExportError: the model cannot be converted, or its servable does not answer as it does.
    """
    clock = Clock(entered)
    target = Path(job.directory) / SERVABLE
    if job.loader is Loader.REPACKAGE:
        made = saved_model.repackage(job, target, clock.enter)
    else:
        made = keras_model.convert(job, target, clock.enter)
    clock.enter(None)
    return Converted(
        tensorflow=tf.__version__,
        keras=keras.__version__,
        signatures=made.signatures,
        image=made.image,
        golden=made.golden,
        parity=made.parity,
        timings=clock.seconds,
    )
