"""The soak's judgement: what is explained by a kill, and what is not."""

import pytest

from benchmarks.soak import Findings, summary


def found(*failures: tuple[float, str], kills: tuple[float, ...] = (1000.0,)) -> Findings:
    return Findings(failures=list(failures), kills=list(kills))


@pytest.mark.parametrize("failure", [(1000.5, "model_server"), (1030.0, "breaker_open"), (1044.0, "too_many_requests")])
def test_a_failure_in_the_documented_shape_soon_after_a_kill_is_explained(failure: tuple[float, str]) -> None:
    assert found(failure).unexplained() == []
    assert summary(found(failure)) == 0


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ((999.0, "model_server"), "model_server, without a kill"),
        ((1050.0, "model_server"), "model_server, 50.0 s after a kill"),
        ((1001.0, "internal"), "internal, 1.0 s after a kill"),
        ((1001.0, "TimeoutError()"), "TimeoutError(), 1.0 s after a kill"),
    ],
)
def test_any_other_is_not(failure: tuple[float, str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(failure).unexplained() == [told]
    assert summary(found(failure)) == 1
    assert told in capsys.readouterr().out


def test_the_last_kill_before_a_failure_counts() -> None:
    assert found((1060.0, "model_server"), kills=(1000.0, 1055.0, 2000.0)).unexplained() == []


def test_a_wrong_answer_is_never_explained() -> None:
    assert summary(Findings(wrong=["v1 says lynx"], kills=[1000.0])) == 1
