"""A served answer is compared with the recorded one as numpy.allclose compares, and by name and shape."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.golden import differs

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"y": [[1.0, 2.0]]}, {"y": [[1.0005, 2.0]]}),
        ({"y": [1.0]}, {"": [1.0]}),
        ({"y": [1.0]}, {"y": [1.0], "more": [3]}),
        ({"y": [NAN, INF, -INF]}, {"y": [NAN, INF, -INF]}),
        ({"y": ["lynx"]}, {"y": ["lynx"]}),
        ({"y": [{"b64": "AA=="}]}, {"y": [{"b64": "AA=="}]}),
        ({"y": 1}, {"y": 1.0}),
        ({"y": []}, {"y": []}),
        ({}, {"y": [1]}),
    ],
)
def test_equal_answers_do_not_differ(expected: dict[str, Any], actual: dict[str, Any]) -> None:
    assert differs(expected, actual, rtol=1e-3, atol=1e-5) is None


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        ({"y": [1.0]}, {"y": [1.1]}, "y[0] is 1.1 instead of 1.0"),
        ({"y": [[1.0], [2.0]]}, {"y": [[1.0], [3.0]]}, "y[1][0] is 3.0 instead of 2.0"),
        ({"y": [1.0]}, {"y": [1.0, 2.0]}, "y has another shape"),
        ({"y": [1.0]}, {"y": 1.0}, "y has another shape"),
        ({"y": 1.0}, {"y": [1.0]}, "y is [1.0] instead of 1.0"),
        ({"y": [1.0]}, {"z": [1.0]}, "it has no output y"),
        ({"y": [1.0], "x": [1.0]}, {"": [1.0]}, "it has no output x, y"),
        ({"y": [1.0]}, {"y": [NAN]}, "y[0] is nan"),
        ({"y": [NAN]}, {"y": [1.0]}, "instead of nan"),
        ({"y": [INF]}, {"y": [1e308]}, "instead of inf"),
        ({"y": ["lynx"]}, {"y": ["tiger"]}, "'tiger' instead of 'lynx'"),
        ({"y": ["1"]}, {"y": [1]}, "1 instead of '1'"),
        ({"y": [True]}, {"y": [0.0]}, "0.0 instead of True"),
    ],
)
def test_a_difference_is_told_by_its_place(expected: dict[str, Any], actual: dict[str, Any], told: str) -> None:
    found = differs(expected, actual, rtol=1e-3, atol=1e-5)
    assert found is not None and told in found


number = st.floats(width=32)


@given(number, number, st.sampled_from([0.0, 1e-5, 1e-3, 0.1]), st.sampled_from([0.0, 1e-6, 0.5]))
def test_numbers_agree_exactly_where_numpy_says_so(expected: float, actual: float, rtol: float, atol: float) -> None:
    with np.errstate(all="ignore"):
        wanted = bool(np.allclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True))
    assert (differs({"y": [expected]}, {"y": [actual]}, rtol=rtol, atol=atol) is None) == wanted
