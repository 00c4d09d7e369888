"""The use cases over the real adapter and the ARM stand-in; Kubernetes is the tests' own, with the nodes that ARM gives."""

from dataclasses import replace
from datetime import timedelta

from deployer.adapters.aks import AksCluster
from deployer.errors import AzureRefused
from deployer.teardown import IdleDefaults
from localcloud.arm import Delays
from localcloud.arm.model import Mode, OperationKind, OperationStatus, Power
from tests.contract.aks_stand_in.arm import Arm
from tests.contract.deployer.aks_process import until
from tests.deployed import IDLE, Deployed
from tests.fake_cluster import FakeCluster

AT_ONCE = Delays(start=0, stop=0, scale_up=0, scale_down=0, update=0, delete=0, abort=0, node_join=0)
OWNED = {"slipway": "owned"}


class NodesOfArm(FakeCluster):
    """What Kubernetes sees of the stand-in's machines."""

    arm: Arm

    @property
    def nodes(self) -> int:
        cluster = self.arm.control.cluster
        machines = [pool.instances for pool in cluster.pools.values() if pool.mode is Mode.USER]
        return sum(map(len, machines)) if cluster.power is Power.RUNNING else 0

    @property
    def answers(self) -> bool:
        return self.arm.control.cluster.power is Power.RUNNING


class LadderOnArm:
    """A model that serves on the stand-in's cluster, which is Slipway's own, and an idle ladder that goes down soon."""

    def __init__(self, arm: Arm, azure: AksCluster, *, pools: tuple[str, ...] = ("gpu",)) -> None:
        self.arm = arm
        cluster = arm.control.cluster.model_copy(update={"tags": OWNED})
        for name in pools:
            cluster = cluster.with_pool(cluster.pools["gpu"].model_copy(update={"tags": OWNED, "name": name}))
        arm.control.cluster = cluster
        self.deployed = Deployed(pool_count=0)
        kubernetes = NodesOfArm(self.deployed.world, self.deployed.pace)
        kubernetes.arm = arm
        self.deployed.kubernetes.cluster = kubernetes
        self.deployed.azure = azure
        self.deployed.cluster.pools = pools  # what the rollouts are told of
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
