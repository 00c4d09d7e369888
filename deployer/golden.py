"""Compares what a served model answers with what was recorded at its conversion. Pure."""

import math
from collections.abc import Mapping
from typing import Any


def differs(expected: Mapping[str, Any], actual: Mapping[str, Any], *, rtol: float, atol: float) -> str | None:
    """Where and how ``actual`` differs from ``expected``, in TensorFlow Serving's column format; None where it does not.

    Outputs that were not recorded are not compared.
    Numbers may differ by ``atol + rtol * |expected|``, as numpy.allclose has it; NaN equals NaN; all else must be equal.
    """
    if len(expected) == 1 and actual.keys() == {""}:  # TensorFlow Serving leaves a single output unnamed
        actual = dict(zip(expected, actual.values(), strict=True))
    if lacking := sorted(expected.keys() - actual.keys()):
        return f"it has no output {', '.join(lacking)}"
    for name, value in expected.items():
        if (found := _difference(value, actual[name], name, rtol, atol)) is not None:
            return found
    return None


def _difference(expected: Any, actual: Any, where: str, rtol: float, atol: float) -> str | None:
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return f"{where} has another shape"
        for index, (wanted, got) in enumerate(zip(expected, actual, strict=True)):
            if (found := _difference(wanted, got, f"{where}[{index}]", rtol, atol)) is not None:
                return found
        return None
    if _number(expected) and _number(actual):
        same = math.isclose(expected, actual, rel_tol=0.0, abs_tol=atol + rtol * abs(expected)) or (
            math.isnan(expected) and math.isnan(actual)
        )
        return None if same else f"{where} is {actual} instead of {expected}"
    return None if expected == actual else f"{where} is {actual!r} instead of {expected!r}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
