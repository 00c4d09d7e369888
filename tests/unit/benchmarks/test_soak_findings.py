"""The soak's judgement: what is explained by a kill, and what is not."""

import pytest

from benchmarks.soak import Findings, Kill, summary


def found(*failures: tuple[float, str], kills: tuple[float, ...] = (1000.0,)) -> Findings:
    """Each server that was killed answers again 20 s later."""
    return Findings(failures=list(failures), kills=[Kill(at, at + 20) for at in kills])


@pytest.mark.parametrize("failure", [(1000.5, "model_server"), (1019.0, "too_many_requests"), (1025.0, "breaker_open")])
def test_a_failure_in_the_documented_shape_while_a_killed_server_is_away_is_explained(
    failure: tuple[float, str],
) -> None:
    assert found(failure).unexplained() == []
    assert summary(found(failure)) == 0


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ((999.0, "model_server"), "model_server, without a kill"),
        ((1027.0, "model_server"), "model_server, 27.0 s after a kill"),
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


def test_a_server_is_back_with_the_first_answer_to_a_request_that_began_after_its_end() -> None:
    findings = Findings(kills=[Kill(1000.0)])
    findings.answered(began=999.0, now=1000.5)  # another replica's, or the last of the old one
    assert findings.kills[0].back is None
    findings.answered(began=1001.0, now=1012.0)
    findings.answered(began=1013.0, now=1013.1)
    assert findings.kills[0].back == 1012.0


def test_one_that_never_comes_back_explains_no_more_than_its_time() -> None:
    gone = Findings(failures=[(1100.0, "breaker_open"), (1200.0, "breaker_open")], kills=[Kill(1000.0)])
    assert gone.unexplained() == ["breaker_open, 200.0 s after a kill"]


def test_the_summary_says_what_each_kill_cost(capsys: pytest.CaptureFixture[str]) -> None:
    summary(found((1001.0, "model_server"), (1002.0, "model_server"), (1003.0, "breaker_open"), kills=(1000.0, 2000.0)))
    told = capsys.readouterr().out
    assert "server 1 answered again after 20.0 s; meanwhile 3 failed (model_server 2, breaker_open 1)" in told
    assert "server 2 answered again after 20.0 s; meanwhile none failed" in told


def test_a_wrong_answer_is_never_explained() -> None:
    assert summary(Findings(wrong=["v1 says lynx"], kills=[Kill(1000.0)])) == 1
