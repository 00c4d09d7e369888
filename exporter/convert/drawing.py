"""Seeded inputs: such that a model has something to do with them, and few enough digits to be a golden request, too."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
import tensorflow as tf

from exporter.convert.interface import ROW_LENGTHS
from exporter.convert.served import Arrays
from exporter.manifest import TensorSpec

_SIDE = 96
"""Height and width for images of any size: most convolutional networks need more than 32, few more than 75."""
_LENGTH = 8
"""For any other dimension that is not fixed."""
_LARGE = 50_000
"""Numbers in an input, from which on each may have one digit only."""
_UNKNOWN_WORDS = ("slipway", "a quay", "weir 3")


@dataclass(frozen=True)
class Known:
    """What is known of a model's inputs: where its numbers end, and words that it has in a table."""

    highest: float = 1.0
    """Of floating-point numbers, which begin with 0."""
    integers: int = 2
    """How many integers there are, from 0 on."""
    words: Sequence[str] = ()
    empty_rows: bool = True
    """Whether rows of ragged inputs may be empty."""

    def cautious(self) -> "Known":
        """With what nearly every model takes: a bound that one layer has need not be another's."""
        return replace(self, integers=2, empty_rows=False)


def inputs_for(specs: dict[str, TensorSpec], batch: int, known: Known | None = None) -> Arrays:
    """Inputs for a signature: the same for the same batch size.

    Floats have two decimals, and one digit where they are as many as in an image. Of integers the first is the highest.
    Strings are words that the model knows, and others.
    """
    known = known or Known()
    generator = np.random.default_rng(batch)
    drawn = {name: _values(generator, spec, batch, known) for name, spec in sorted(specs.items())}
    return drawn | {
        name: _row_lengths(drawn[of].shape[1], values, known)
        for name, values in drawn.items()
        if (of := name.removesuffix(ROW_LENGTHS)) != name and of in drawn and drawn[of].ndim > 1
    }


def _values(generator: np.random.Generator, spec: TensorSpec, batch: int, known: Known) -> np.ndarray[Any, Any]:
    dimensions = [None] if spec.shape is None else spec.shape
    shape = [batch if index == 0 else _dimension(spec, index, size) for index, size in enumerate(dimensions)]
    if spec.dtype == "string":
        return _strings(shape, batch, known.words)
    dtype = tf.as_dtype(spec.dtype)
    if dtype.is_floating:
        values = generator.random(shape) * known.highest
        if values.size > _LARGE:
            digits = generator.integers(0, 10, size=shape)
            return np.asarray(digits / (1 if known.highest > 1 else 10)).astype(dtype.as_numpy_dtype)
        return np.asarray(values.round(2)).astype(dtype.as_numpy_dtype)
    most = 2 if dtype.is_bool or not dtype.is_integer else min(known.integers, int(dtype.max))
    integers = np.asarray(generator.integers(0, most, size=shape))
    integers.reshape(-1)[:1] = most - 1
    return integers.astype(dtype.as_numpy_dtype)


def _strings(shape: Sequence[int], batch: int, words: Sequence[str]) -> np.ndarray[Any, Any]:
    """In turns one that is known and one that is not, with texts of both; beginning elsewhere in a batch of another size."""
    first, last = list(words[:1]), list(words[-1:]) if len(words) > 1 else []
    middle = [words[len(words) // 2]] if len(words) > 2 else []
    known = [*first, *last, *middle, *([" ".join([*first, _UNKNOWN_WORDS[0], *last])] if first else [])]
    mixed = [text for pair in zip(known, cycle(_UNKNOWN_WORDS), strict=False) for text in pair] or list(_UNKNOWN_WORDS)
    start = (batch - 1) * 2 if known else batch - 1
    texts = islice(cycle(mixed), start, start + int(np.prod(shape)))
    return np.array([text.encode() for text in texts], dtype=object).reshape(shape)


def _row_lengths(most: int, like: np.ndarray[Any, Any], known: Known) -> np.ndarray[Any, Any]:
    """One row is neither empty nor full; of several, the first is empty and the second full."""
    part = (5 * most + 7) // 8
    several = [0 if known.empty_rows else min(1, most), most, part]
    lengths = [part] if like.size == 1 else islice(cycle(several), like.size)
    return np.array(list(lengths), like.dtype).reshape(like.shape)


def _dimension(spec: TensorSpec, index: int, size: int | None) -> int:
    if size is not None:
        return size
    return _SIDE if len(spec.shape or []) == 4 and index in (1, 2) else _LENGTH
