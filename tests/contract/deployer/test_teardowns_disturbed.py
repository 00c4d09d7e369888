"""A teardown, and a wake after it, in which a call to Azure fails once or what it began does: the next looks finish it.

The use cases over the real adapter and the ARM stand-in; Kubernetes is the tests' own, with the nodes that ARM gives.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployer.adapters.aks import AksCluster
from deployer.errors import AzureRefused
from deployer.teardown import IdleDefaults
from localcloud.arm import Delays, Does, Fault
from localcloud.arm.model import OperationKind, OperationStatus, Power
from tests.contract.aks_stand_in.arm import Arm, in_a_thread
from tests.contract.deployer.aks_process import until
from tests.contract.deployer.arm_adapter import adapter
from tests.deployed import IDLE, Deployed
from tests.fake_cluster import FakeCluster

AT_ONCE = Delays(start=0, stop=0, scale_up=0, scale_down=0, update=0, delete=0, abort=0, node_join=0)
OWNED = {"slipway": "owned"}
DOWN = ("cluster.get", "pool.get", "pool.put", "cluster.stop", "operation.get")
UP = ("cluster.get", "pool.get", "pool.put", "cluster.start", "operation.get")
BEGIN = ("pool.put", "cluster.stop", "cluster.start")


class NodesOfArm(FakeCluster):
    """What Kubernetes sees of the stand-in's machines."""

    arm: Arm

    @property
    def nodes(self) -> int:
        cluster = self.arm.control.cluster
        return len(cluster.pools["gpu"].instances) if cluster.power is Power.RUNNING else 0

    @property
    def answers(self) -> bool:
        return self.arm.control.cluster.power is Power.RUNNING


class Disturbed:
    """A model that serves on the stand-in's cluster, and faults to come."""

    def __init__(self, arm: Arm, azure: AksCluster) -> None:
        self.arm = arm
        cluster = arm.control.cluster
        owned = cluster.pools["gpu"].model_copy(update={"tags": OWNED})
        arm.control.cluster = cluster.model_copy(update={"tags": OWNED}).with_pool(owned)
        self.deployed = Deployed(pool_count=0)
        kubernetes = NodesOfArm(self.deployed.world, self.deployed.pace)
        kubernetes.arm = arm
        self.deployed.kubernetes.cluster = kubernetes
        self.deployed.azure = azure
        self.deployed.defaults = IdleDefaults(timedelta(minutes=5))
        self.deployed.restart()
        soon = replace(IDLE, pool_after=timedelta(minutes=5), stop_after=timedelta(minutes=5))
        self.deployed.teardown = replace(self.deployed.teardown, policy=soon)
        self.deployed.store.drop("cats.keras", "one")
        self.until_serving()

    def settled(self) -> None:
        """Lets the stand-in come to the end of what it does, in its own time."""
        until(lambda: self.arm.control.cluster.running_operation is None, "Azure has done it")

    def until_serving(self) -> None:
        """The platform delivers until the model serves."""
        for _ in range(40):
            self.deployed.run(5)
            self.settled()
            if self.deployed.serving("cats") == 1:
                return
        raise AssertionError(f"it does not serve: {self.deployed.told_of('cats')}")

    def until_stopped(self) -> None:
        """The timer fires every five minutes; the platform calls again, should it fail."""
        for _ in range(40):
            self.deployed.run(299)
            try:
                self.deployed.teardown.run()
            except AzureRefused as refused:
                assert refused.hint
            self.settled()
            record = self.deployed.state.cluster()
            if self.arm.control.cluster.power is Power.STOPPED and record.operation is None:
                return
        raise AssertionError(f"it is not stopped: {self.deployed.state.cluster()}")

    def begun(self) -> list[OperationKind]:
        """The operations that Azure took and brought to their end, but for the failed."""
        found = sorted(self.arm.control.cluster.operations, key=lambda operation: operation.started)
        return [operation.kind for operation in found if operation.status is OperationStatus.SUCCEEDED]


@pytest.fixture
def disturbed(tmp_path: Path) -> Iterator[Disturbed]:
    with in_a_thread(Arm(tmp_path, AT_ONCE)) as arm, adapter(arm) as azure:
        yield Disturbed(arm, azure)


def faults(call: str) -> Iterator[Fault]:
    """The ways in which this call may fail once; what the SDK repeats by itself fails twice."""
    yield Fault.known(call, "internal", times=2)
    yield Fault(on=call, does=Does.GARBLE)
    if call in BEGIN:
        yield Fault(on=call, does=Does.CUT_AFTER)
        yield Fault.known(call, "conflict")
        yield Fault.known(call, "internal", in_operation=True)


@pytest.mark.parametrize("call", DOWN)
def test_a_teardown_is_finished_whichever_call_to_azure_fails(disturbed: Disturbed, call: str) -> None:
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
def test_a_wake_is_finished_whichever_call_to_azure_fails(disturbed: Disturbed, call: str) -> None:
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
