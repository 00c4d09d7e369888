"""Whether two sets of outputs are the same model's."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from exporter.convert.served import Arrays
from exporter.errors import ConversionFailed, ParityFailed, Stage
from exporter.manifest import Parity, TensorSpec

BATCH_SIZES = (1, 2)
"""One that could be mistaken for a fixed size, and the smallest that could not."""


@dataclass(frozen=True)
class Tolerance:
    """Two numbers agree where ``|a - b| <= atol + rtol * |b|``."""

    rtol: float
    atol: float


EXACT = Tolerance(0.0, 0.0)
_BY_DTYPE = {
    "float64": Tolerance(1e-6, 1e-9),
    "float32": Tolerance(1e-3, 1e-5),
    "float16": Tolerance(2e-2, 1e-3),
    "bfloat16": Tolerance(5e-2, 1e-2),
    "complex64": Tolerance(1e-3, 1e-5),
    "complex128": Tolerance(1e-6, 1e-9),
}
GOLDEN = Tolerance(1e-2, 1e-3)
"""For an answer from other hardware: a GPU multiplies float32 with the ten bits of TensorFloat-32."""


def tolerance_of(dtypes: Iterable[str]) -> Tolerance:
    """The tolerance for a model that computes in ``dtypes``: that of the coarsest."""
    known = [_BY_DTYPE[dtype] for dtype in dtypes if dtype in _BY_DTYPE]
    return max(known, key=lambda tolerance: tolerance.rtol, default=EXACT)


def batch_sizes(specs: Iterable[TensorSpec]) -> list[int]:
    """The batch sizes to try: the model's own where it is fixed."""
    fixed = {spec.shape[0] for spec in specs if spec.shape} - {None}
    return [size for size in fixed if size is not None][:1] or list(BATCH_SIZES)


def compare(expected: Arrays, actual: Arrays, tolerance: Tolerance, what: str) -> tuple[float, float]:
    """The largest absolute and relative difference.

    Raises:
        ParityFailed: names, shapes, dtypes or values differ by more than the tolerance; NaN equals NaN.
    """
    if expected.keys() != actual.keys():
        raise _differs(what, f"its outputs are {sorted(actual)}, the source's {sorted(expected)}")
    worst = (0.0, 0.0)
    for name, wanted in expected.items():
        difference = _compare_one(wanted, actual[name], tolerance, f"{what}, output '{name}'")
        worst = (max(worst[0], difference[0]), max(worst[1], difference[1]))
    return worst


def require_numbers(answers: Iterable[Arrays]) -> None:
    """An output that is nothing but NaN, whatever it is asked, equals any other such, and so cannot be verified.

    Raises:
        ConversionFailed: there is one.
    """
    answers = list(answers)
    for name in {name for outputs in answers for name in outputs}:
        values = [outputs[name] for outputs in answers if outputs[name].size]
        if values and all(value.dtype.kind in "fc" and np.isnan(value).all() for value in values):
            raise ConversionFailed(
                f"The model answers nothing but NaN ('{name}', to seeded inputs).",
                hint="Its weights are probably NaN, as after a training that diverged; save it from before that.",
                stage=Stage.VERIFY,
                code="answers_nan",
            )


def summary(differences: list[tuple[float, float]], sizes: list[int], tolerance: Tolerance) -> Parity:
    """The parity that ``servable.json`` records."""
    return Parity(
        max_abs_error=max((absolute for absolute, _ in differences), default=0.0),
        max_rel_error=max((relative for _, relative in differences), default=0.0),
        batch_sizes=sizes,
        rtol=tolerance.rtol,
        atol=tolerance.atol,
    )


def _compare_one(
    wanted: np.ndarray[Any, Any], got: np.ndarray[Any, Any], tolerance: Tolerance, what: str
) -> tuple[float, float]:
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        raise _differs(what, f"{got.dtype}{list(got.shape)} against {wanted.dtype}{list(wanted.shape)}")
    dtype = tf.as_dtype(wanted.dtype)
    if not (dtype.is_floating or dtype.is_complex):
        if not np.array_equal(wanted, got):
            raise _differs(what, "the values differ")
        return 0.0, 0.0
    widest = np.complex128 if dtype.is_complex else np.float64
    left, right = wanted.astype(widest), got.astype(widest)
    if not np.allclose(right, left, rtol=tolerance.rtol, atol=tolerance.atol, equal_nan=True):
        raise _differs(what, f"the values differ by up to {_errors(left, right)[0]:.3g}")
    return _errors(left, right)


def _errors(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> tuple[float, float]:
    finite = np.isfinite(left) & np.isfinite(right)
    difference = np.abs(left[finite] - right[finite])
    relative = difference / np.maximum(np.abs(left[finite]), 1e-6)
    return float(difference.max(initial=0.0)), float(relative.max(initial=0.0))


def _differs(what: str, how: str) -> ParityFailed:
    return ParityFailed(
        f"The servable does not answer as the model does ({what}): {how}.",
        hint="A model that draws random numbers when it predicts cannot be verified; if this one does not, report it.",
        stage=Stage.VERIFY,
    )
