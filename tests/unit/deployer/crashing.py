"""The crash harness: a flow is disturbed at one call to the outside, the platform goes on, and all comes to an end.

A flow changes a deployed application as users and the platform do. ``disturbed`` runs it with one fault, then lets what
heals heal: messages are delivered again, timers fire. Its ``outcome`` must be that of the flow undisturbed.

After every call to the outside it is looked at from there: only whole versions are visible, and what is to serve throughout
serves. What is before a flow is made once and copied.
"""

import copy
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import pytest

from deployer.errors import NotFound, SlipwayError, Unavailable
from deployer.export_jobs import JobPolicy
from tests.deployed import DEQUEUES, IN_FUNCTION, Deployed
from tests.fakes import Effect, Killed


class Fault(StrEnum):
    """What goes wrong. A kill before an effect is, to the outside, one after the effect before it."""

    KILL = "kill"
    ERROR = "error"
    TIMEOUT = "timeout"
    """The effect takes place, and the caller is told that it did not."""


@dataclass(frozen=True)
class Flow:
    """``before`` brings the world where the flow begins; faults strike in ``act`` and what follows of it.

    ``looks``: errors strike calls that change nothing, too. ``steady``: a version answers at every moment of it.
    """

    name: str
    act: Callable[[Deployed], object]
    before: Callable[[Deployed], object] = lambda deployed: None
    gpus: int = 1
    retire_deleted: bool = False
    bridged: bool = False
    looks: bool = False
    steady: bool = False
    jobs: JobPolicy = IN_FUNCTION


@functools.cache
def _begun(flow: Flow) -> Deployed:
    deployed = Deployed(gpus=flow.gpus, pool_count=flow.gpus, retire_deleted=flow.retire_deleted, jobs=flow.jobs)
    deployed.bridged = flow.bridged
    deployed.restart()
    flow.before(deployed)
    deployed.marked, deployed.marked_call = len(deployed.world.changes()), deployed.world.calls
    deployed.world.effects.clear()  # numbers go on; what is copied often is kept small
    return deployed


def disturbed(flow: Flow, fault: Fault | None = None, at: int = 0) -> Deployed:
    """Runs the flow with this fault at its call or change of that number, and lets it heal.

    Raises:
        AssertionError: what is not whole was visible meanwhile, or nothing answered for a steady flow.
    """
    deployed = copy.deepcopy(_begun(flow))
    deployed.world.watch = lambda effect: _seen(deployed, flow, effect)
    match fault:
        case Fault.KILL:
            deployed.world.kill_at(deployed.marked + at, after=True)
        case Fault.ERROR | Fault.TIMEOUT:
            error = Unavailable("storage", "It did not answer.", "It is tried again.")
            deployed.world.fail_at(deployed.marked_call + at, error, after=fault is Fault.TIMEOUT)
    persistently(deployed, lambda: flow.act(deployed))
    for _ in range(6):
        deployed.run(120)
        persistently(deployed, deployed.sweep.run)
        persistently(deployed, deployed.tick)
    deployed.world.faults.clear()
    for _ in range(2):  # the idle ladder comes to an end as well: what it began last has ended, and was seen
        deployed.run(120).tick()
    return deployed.run(120)


def _seen(deployed: Deployed, flow: Flow, effect: Effect) -> None:
    if effect.name.startswith("servables."):
        deployed.servables.assert_whole()
    if flow.steady and effect.number:
        assert deployed.serving("cats") is not None, f"nothing answers after {effect.name} {effect.subject}"


def ends_as_if_nothing_had_happened(flow: Flow, fault: Fault, undisturbed: Deployed) -> None:
    """With this fault at every point of the flow, each in a run of its own."""
    expected = outcome(undisturbed)
    for at in points(flow, undisturbed, fault):
        found = outcome(disturbed(flow, fault, at))
        assert {"at": at, **found} == {"at": at, **expected}


def counted(undisturbed: Mapping[Flow, Deployed], capsys: pytest.CaptureFixture[str]) -> dict[Fault, int]:
    """How many points there are for each fault, which is also printed."""
    counts = {fault: sum(len(points(flow, run, fault)) for flow, run in undisturbed.items()) for fault in Fault}
    with capsys.disabled():
        told = ", ".join(f"{count} {fault}s" for fault, count in counts.items())
        sys.stdout.write(f"\ncrash points: {told}, over {len(undisturbed)} flows\n")
    return counts


def points(flow: Flow, undisturbed: Deployed, fault: Fault) -> list[int]:
    """Where this fault may strike the flow."""
    effects = [effect for effect in undisturbed.world.effects if effect.call > undisturbed.marked_call]
    if fault is Fault.KILL:
        return [effect.number - undisturbed.marked for effect in effects if effect.number]
    looks = flow.looks and fault is Fault.ERROR
    return [effect.call - undisturbed.marked_call for effect in effects if effect.number or looks]


def persistently(deployed: Deployed, call: Callable[[], object]) -> None:
    """Calls, and after a kill or an error again, as users and timers do."""
    for _ in range(DEQUEUES):
        try:
            call()
            return
        except Killed:
            deployed.restart()
            deployed.world.pass_time(61)
        except SlipwayError:
            deployed.world.pass_time(20)


def outcome(deployed: Deployed) -> dict[str, object]:
    """All that a user would see at the end, but for times."""
    found: dict[str, object] = {
        "tags": {name: deployed.store.tags(name) for name in deployed.store.blobs},
        "visible": deployed.servables.visible(),
        "files": sorted(deployed.servables.blobs),
        "replicas": deployed.kubernetes.replicas("cats"),
        "selected": deployed.kubernetes.selected("cats"),
        "cluster": (deployed.cluster.state(), *_cluster(deployed)),
        "poison": deployed.poison,
    }
    try:
        record = deployed.record("cats")
    except NotFound:
        return found | {"record": None}
    upload = record.upload
    return found | {
        "versions": [(item.version, item.state, item.identity, item.serve) for item in record.versions],
        "next": record.next_version,
        "serving": deployed.serving("cats"),
        "settled": record.settled,
        "asleep": record.asleep,
        "bridge": (record.bridge, sorted(deployed.kubernetes.replicas("cats--bridge"))),
        "upload": (upload.state, upload.version, upload.reason) if upload else None,
        "timeline": {item.version: _stages(deployed, item.version) for item in record.versions},
        "decisions": _decisions(deployed),
    }


def _cluster(deployed: Deployed) -> Iterable[object]:
    cluster = deployed.state.cluster()
    return cluster.operation is None, cluster.wake, cluster.rung, cluster.failure


def _stages(deployed: Deployed, version: int) -> set[str]:
    """The stages that came to a good end: none may be missing. Whether there was anything to wait for may differ."""
    ended = {stage.stage for stage in deployed.state.timeline("cats", version) if stage.outcome == "done"}
    return ended - {"wake", "pods", "retire"}


def _decisions(deployed: Deployed) -> set[str]:
    """What was decided, and that the numbers have no gap."""
    record = deployed.record("cats")
    history = deployed.state.history(record, newest=10_000)
    assert [entry.number for entry in history] == list(range(1, record.decided + 1))
    return {entry.what for entry in history}
