"""What a pod's status says of its containers, and when what is restarted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localcloud.kubelet.container_state import (
    BackOff,
    ContainerRecord,
    ContainerState,
    Running,
    Terminated,
    Waiting,
    exit_code,
    restarts,
)
from localcloud.kubelet.pod_status import phase, status
from localcloud.kubelet.probes import ProbeSpec, Tally

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
RUNNING = Running(NOW, "local://1")


def ended(code: int) -> Terminated:
    return Terminated(code, "Error" if code else "Completed", "", NOW, NOW, "local://1")


@pytest.mark.parametrize(
    ("states", "policy", "expected"),
    [
        ([Waiting()], "Always", "Pending"),
        ([RUNNING, Waiting()], "Always", "Pending"),
        ([RUNNING, RUNNING], "Always", "Running"),
        ([ended(1)], "Always", "Running"),
        ([ended(0)], "Never", "Succeeded"),
        ([ended(0), ended(3)], "Never", "Failed"),
        ([ended(3)], "OnFailure", "Running"),
        ([ended(0), RUNNING], "Never", "Running"),
    ],
)
def test_phase_follows_the_containers(states: list[ContainerState], policy: str, expected: str) -> None:
    assert phase([ContainerRecord("c", "i", state) for state in states], policy) == expected


def test_a_crash_loop_is_running_but_not_ready() -> None:
    record = ContainerRecord("c", "i", Waiting("CrashLoopBackOff", "back-off 10s"), last=ended(1), restarts=2)
    document = reported([record])
    assert document["phase"] == "Running"
    shown = document["containerStatuses"][0]
    assert shown["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert (shown["lastState"]["terminated"]["exitCode"], shown["restartCount"]) == (1, 2)
    ready = condition(document, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [c]"


def reported(records: list[ContainerRecord], before: list[Any] | None = None, now: datetime = NOW) -> Any:
    return reported_with_init(records, [], before, now)


def reported_with_init(
    records: list[ContainerRecord],
    init: list[ContainerRecord],
    before: list[Any] | None = None,
    now: datetime = NOW,
) -> Any:
    return status(
        records,
        init=init,
        restart_policy="Always",
        mounted=True,
        pod_address="127.1.2.10",
        host_address="127.1.2.2",
        started=NOW,
        before=before or [],
        now=now,
    )


def condition(document: Any, kind: str) -> Any:
    return next(each for each in document["conditions"] if each["type"] == kind)


def test_a_transition_time_changes_only_with_the_status() -> None:
    record = ContainerRecord("c", "i", RUNNING, ready=False)
    first = reported([record])
    later = NOW + timedelta(minutes=1)
    record.ready = True
    second = reported([record], first["conditions"], later)
    assert condition(second, "Ready")["lastTransitionTime"] == "2026-11-23T12:01:00Z"
    assert condition(second, "Initialized")["lastTransitionTime"] == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize(("returncode", "code"), [(0, 0), (3, 3), (-9, 137), (-15, 143)])
def test_an_end_by_a_signal_is_128_more(returncode: int, code: int) -> None:
    assert exit_code(returncode) == code


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_the_restart_policy_decides(policy: str, code: int, again: bool) -> None:
    assert restarts(policy, code) is again


def test_back_off_starts_at_once_and_doubles_to_its_limit() -> None:
    back_off = BackOff(10, 300)
    assert [back_off.next() for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def tally(answers: str, *, successes: int = 1, failures: int = 3) -> bool | None:
    """The verdict after answers, ``+`` or ``-``."""
    counted = Tally(ProbeSpec({}, successes=successes, failures=failures))
    for answer in answers:
        counted = counted.after(answer == "+")
    return counted.verdict


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ("", None),
        ("--", None),
        ("---", False),
        ("+", True),
        ("+--", True),
        ("+---", False),
        ("---+", True),
        ("--+--", True),
    ],
)
def test_a_probe_changes_its_verdict_only_at_a_threshold(answers: str, verdict: bool | None) -> None:
    assert tally(answers) is verdict


def test_a_success_threshold_counts_in_a_row() -> None:
    assert tally("---+-+", successes=2) is False
    assert tally("---+-++", successes=2) is True


def test_probe_defaults_are_those_of_the_api() -> None:
    probe = ProbeSpec.of({"tcpSocket": {"port": 80}})
    assert probe is not None
    assert (probe.initial_delay, probe.period, probe.timeout, probe.successes, probe.failures) == (0, 10, 1, 1, 3)
    assert ProbeSpec.of(None) is None
