"""A teardown, and a wake after it, in which a call to Azure fails once or what it began does: the next looks finish it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.arm import Does, Fault
from localcloud.arm.model import OperationKind
from tests.contract.aks_stand_in.arm import Arm, in_a_thread
from tests.contract.deployer.arm_adapter import adapter
from tests.contract.deployer.ladder_on_arm import AT_ONCE, LadderOnArm

DOWN = ("cluster.get", "pool.get", "pool.put", "cluster.stop", "operation.get")
UP = ("cluster.get", "pool.get", "pool.put", "cluster.start", "operation.get")
BEGIN = ("pool.put", "cluster.stop", "cluster.start")


@pytest.fixture
def disturbed(tmp_path: Path) -> Iterator[LadderOnArm]:
    with in_a_thread(Arm(tmp_path, AT_ONCE)) as arm, adapter(arm) as azure:
        yield LadderOnArm(arm, azure)


def faults(call: str) -> Iterator[Fault]:
    """The ways in which this call may fail once; what the SDK repeats by itself fails twice."""
    yield Fault.known(call, "internal", times=2)
    yield Fault(on=call, does=Does.GARBLE)
    if call in BEGIN:
        yield Fault(on=call, does=Does.CUT_AFTER)
        yield Fault.known(call, "conflict")
        yield Fault.known(call, "internal", in_operation=True)


@pytest.mark.parametrize("call", DOWN)
def test_a_teardown_is_finished_whichever_call_to_azure_fails(disturbed: LadderOnArm, call: str) -> None:
    for fault in faults(call):
        disturbed.arm.control.faults.order(fault)
        before = len(disturbed.begun())
        disturbed.until_stopped()
        assert disturbed.arm.control.faults.pending == (), fault
        cluster, record = disturbed.arm.control.cluster, disturbed.deployed.record("cats")
        assert (cluster.pools["gpu"].count, record.asleep, record.route) == (0, True, None)
        assert disturbed.begun()[before:] == [OperationKind.SCALE_POOL, OperationKind.STOP], fault
        disturbed.deployed.world.pass_time(1300)
        disturbed.deployed.request("cats")
        disturbed.until_serving()
    assert not disturbed.deployed.poison


@pytest.mark.parametrize("call", UP)
def test_a_wake_is_finished_whichever_call_to_azure_fails(disturbed: LadderOnArm, call: str) -> None:
    for fault in faults(call):
        disturbed.until_stopped()
        disturbed.deployed.world.pass_time(1300)
        disturbed.arm.control.faults.order(fault)
        before = len(disturbed.begun())
        disturbed.deployed.request("cats")
        disturbed.until_serving()
        assert disturbed.arm.control.faults.pending == (), fault
        assert disturbed.begun()[before:] == [OperationKind.START, OperationKind.SCALE_POOL], fault
        assert disturbed.deployed.state.cluster().failure is None
        assert disturbed.deployed.record("cats").rollout is None or disturbed.deployed.serving("cats") == 1
