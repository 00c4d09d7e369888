"""Keras variables whose first values are on their way from a file.

Keras draws random numbers for every weight, and then reads the weights: for a hundred megabytes that is a third of the
time to load them. While ``unfilled_variables`` lasts, a variable that would be filled at random gets its storage only.
What the file then leaves out gets the random numbers that Keras would have given it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import keras
import tensorflow as tf

_RANDOM = (
    keras.initializers.VarianceScaling,
    keras.initializers.RandomNormal,
    keras.initializers.RandomUniform,
    keras.initializers.TruncatedNormal,
    keras.initializers.Orthogonal,
)


@contextmanager
def unfilled_variables() -> Iterator[None]:
    """While it lasts, new variables wait for their values; at its end all have some."""
    unfilled: dict[int, tuple[Any, Any]] = {}
    initialize, assign = keras.Variable._initialize_with_initializer, keras.Variable._direct_assign

    def make(variable: Any, initializer: Any) -> None:
        if not isinstance(initializer, _RANDOM):
            initialize(variable, initializer)
            return
        unfilled[id(variable)] = variable, initializer
        initialize(variable, lambda shape, dtype: tf.raw_ops.Empty(shape=shape, dtype=dtype))

    def fill(variable: Any, value: Any) -> None:
        unfilled.pop(id(variable), None)
        assign(variable, value)

    with (
        patch.object(keras.Variable, "_initialize_with_initializer", make),
        patch.object(keras.Variable, "_direct_assign", fill),
    ):
        yield
        for variable, initializer in list(unfilled.values()):
            variable.assign(initializer(variable.shape, dtype=variable.dtype))
