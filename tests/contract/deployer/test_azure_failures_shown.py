"""What becomes of Azure's refusals and failed operations: users read them of the cluster and of the model that waits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from deployer.adapters.aks import AksCluster
from deployer.errors import AzureRefused
from deployer.operations import settle_operation
from deployer.record import ClusterRecord, Operation
from deployer.state import State
from localcloud.arm import Delays, Fault
from tests.contract.aks_stand_in.arm import Arm, in_a_thread
from tests.contract.deployer.aks_process import until
from tests.contract.deployer.arm_adapter import adapter
from tests.deployed import Deployed
from tests.fakes import FakeDocuments, World

AT_ONCE = Delays(start=0, stop=0, scale_up=0, scale_down=0, update=0, delete=0, abort=0, node_join=0)
FAMILY = "standardNCASv3_T4Family"


@pytest.fixture
def arm(tmp_path: Path) -> Iterator[Arm]:
    """An empty GPU pool, as the tests' Kubernetes has it."""
    with in_a_thread(Arm(tmp_path, AT_ONCE)) as running:
        yield running


@pytest.fixture
def aks(arm: Arm) -> Iterator[AksCluster]:
    with adapter(arm) as made:
        yield made


@pytest.fixture
def deployed(aks: AksCluster) -> Deployed:
    """The use cases over the real adapter; models, storage and Kubernetes are the tests' own."""
    made = Deployed(pool_count=0)
    made.azure = aks
    made.restart()
    return made


def begun(aks: AksCluster, kind: Literal["start", "stop", "pool"]) -> str:
    match kind:
        case "start":
            return aks.begin_start()
        case "stop":
            return aks.begin_stop()
        case "pool":
            return aks.begin_pool(1)


CALLS = {"start": "cluster.start", "stop": "cluster.stop", "pool": "pool.put"}
ENDS = {
    "quota": ("azure_quota", FAMILY), "quota-exceeded": ("azure_quota", FAMILY), "capacity": ("azure_capacity", "T4_v3"),
    "zonal-capacity": ("azure_capacity", "T4_v3"), "overconstrained": ("azure_capacity", "T4_v3"),
    "nested-capacity": ("azure_capacity", "T4_v3"), "sku": ("azure_capacity", "T4_v3"),
    "linked-forbidden": ("azure_forbidden", "'Network Contributor'"), "policy": ("azure_policy", "no GPUs after hours"),
    "failed-state": ("azure_failed_state", "az aks update"), "internal": ("azure_error", "azure.status"),
    "preempted": ("azure_aborted", "begun anew"), "throttled": ("azure_throttled", "tried again"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["start", "stop", "pool"])
@pytest.mark.parametrize("name", ENDS)
def test_an_operation_that_fails_tells_why_in_the_clusters_record(
    arm: Arm, aks: AksCluster, name: str, kind: Literal["start", "stop", "pool"]
) -> None:
    code, word = ENDS[name]
    arm.control.faults.order(Fault.known(CALLS[kind], name, in_operation=True))
    world = World()
    state, token = State(FakeDocuments(world), world.clock), begun(aks, kind)
    operation = Operation(kind=kind, started=world.now, token=token)
    state.change_cluster(lambda before: before.but(operation=operation))

    def settled() -> ClusterRecord | None:
        record = settle_operation(state, aks, world.clock)
        return record if record.operation is None else None

    record = until(settled, "the operation has ended")
    assert record.failure is not None and record.failed == world.now
    assert record.failure.startswith(f"{code}: Azure did not ")
    assert word in record.failure


@pytest.mark.parametrize("kind", ["start", "stop", "pool"])
def test_an_aborted_operation_is_told_as_such(tmp_path: Path, kind: Literal["start", "stop", "pool"]) -> None:
    slow = Delays(start=600, stop=600, scale_up=600)
    with in_a_thread(Arm(tmp_path, slow)) as arm, adapter(arm) as aks:
        token = begun(aks, kind)
        assert aks.operation(kind, token).running
        aks.abort(kind)
        state = aks.operation(kind, token)
    assert not state.running
    assert state.failure is not None and state.failure.startswith("azure_aborted: ")


def test_a_pool_with_an_autoscaler_is_scaled_and_keeps_what_it_had(tmp_path: Path) -> None:
    """The autoscaler is switched off with the same request, for it would undo the count."""
    scaling = {"enable_auto_scaling": True, "min_count": 0, "max_count": 3, "node_labels": {"team": "vision"}}
    with in_a_thread(Arm(tmp_path, AT_ONCE)) as arm, adapter(arm) as aks:
        gpu = arm.control.cluster.pools["gpu"]
        arm.control.cluster = arm.control.cluster.with_pool(gpu.model_copy(update=scaling))
        token = aks.begin_pool(2)
        until(lambda: not aks.operation("pool", token).running, "the pool has grown")
        after = arm.control.cluster.pools["gpu"]
    assert (after.count, after.enable_auto_scaling, after.node_labels) == (2, False, {"team": "vision"})


def shown(deployed: Deployed) -> tuple[str, str]:
    """The cluster's failure, and the message of the rollout."""
    rollout = deployed.told_of("cats")["rollout"]
    assert isinstance(rollout, dict)
    return str(deployed.control.cluster()["failure"]), str(rollout["message"])


@pytest.mark.parametrize("in_operation", [False, True], ids=["refused", "failed"])
def test_a_model_that_gets_no_gpu_shows_why(arm: Arm, deployed: Deployed, in_operation: bool) -> None:
    """Whether Azure refuses at once, or accepts and fails later, users read the same."""
    arm.control.faults.order(Fault.known("pool.put", "quota", in_operation=in_operation, times=None))
    deployed.drop("cats.keras", "one", seconds=30)
    for told in shown(deployed):
        assert told.startswith("azure_quota: Azure did not scale pool 'gpu'")
        assert FAMILY in told and "Usage + quotas" in told
    assert deployed.poison == []
    assert deployed.told_of("cats")["state"] == "rolling"


def test_the_reason_stays_with_the_model_once_it_is_given_up(arm: Arm, deployed: Deployed) -> None:
    arm.control.faults.order(Fault.known("pool.put", "capacity", in_operation=True, times=None))
    deployed.drop("cats.keras", "one", seconds=30)
    for _ in range(10):
        deployed.world.pass_time(200)
        deployed.run(2)
    told = deployed.told_of("cats")
    assert str(told["reason"]).startswith("azure_capacity: ")
    assert deployed.record("cats").asleep


def test_a_cluster_that_may_not_be_looked_at_is_told_where_users_look(arm: Arm, deployed: Deployed) -> None:
    arm.control.faults.order(Fault.known("cluster.get", "forbidden", times=None))
    deployed.drop("cats.keras", "one", seconds=30)
    rollout = deployed.told_of("cats")["rollout"]
    assert isinstance(rollout, dict)
    assert rollout["message"].startswith("azure_forbidden: Azure did not look at cluster 'slipway'")
    assert "Azure Kubernetes Service Contributor Role" in rollout["message"]
    with pytest.raises(AzureRefused) as refused:
        deployed.control.cluster()
    assert refused.value.body()["error"]["code"] == "azure_forbidden"


def ours(arm: Arm) -> None:
    """The tag that lets the idle ladder touch the pool."""
    gpu = arm.control.cluster.pools["gpu"]
    arm.control.cluster = arm.control.cluster.with_pool(gpu.model_copy(update={"tags": {"slipway": "owned"}}))


@pytest.mark.parametrize(
    ("tags", "owned"), [({}, False), ({"slipway": "shared"}, False), ({"team": "vision", "slipway": "owned"}, True)]
)
def test_only_a_tagged_pool_and_cluster_are_ours(arm: Arm, aks: AksCluster, tags: dict[str, str], owned: bool) -> None:
    gpu = arm.control.cluster.pools["gpu"]
    arm.control.cluster = arm.control.cluster.with_pool(gpu.model_copy(update={"tags": tags}))
    assert (aks.state().pool_owned, aks.state().owned) == (owned, False)
    arm.control.cluster = arm.control.cluster.model_copy(update={"tags": tags})
    assert (aks.state().owned, aks.state().may_delete) == (owned, False)
    arm.control.cluster = arm.control.cluster.model_copy(update={"tags": {**tags, "slipway-may-delete": "slipway"}})
    assert aks.state().may_delete
    arm.control.cluster = arm.control.cluster.model_copy(update={"tags": {"slipway-may-delete": "another"}})
    assert not aks.state().may_delete


def test_an_untagged_pool_is_not_emptied_by_command_either(arm: Arm, aks: AksCluster, deployed: Deployed) -> None:
    token = aks.begin_pool(1)
    until(lambda: not aks.operation("pool", token).running, "the pool has a node")
    deployed.control.order("sleep", None)
    state = aks.state()
    assert (state.pool_count, state.busy) == (1, False)


def test_a_teardown_that_azure_refuses_is_shown_with_the_cluster(arm: Arm, aks: AksCluster, deployed: Deployed) -> None:
    token = aks.begin_pool(1)
    until(lambda: not aks.operation("pool", token).running, "the pool has a node")
    ours(arm)
    arm.control.faults.order(Fault.known("pool.put", "lock"))
    with pytest.raises(AzureRefused):
        deployed.control.order("sleep", None)
    assert str(deployed.control.cluster()["failure"]).startswith("azure_locked: Azure did not scale pool 'gpu' to 0")
    deployed.control.order("sleep", None)
    until(lambda: aks.state().pool_count == 0, "the pool is empty")


def test_a_failed_state_is_seen_and_hinders_nothing(arm: Arm, aks: AksCluster) -> None:
    arm.control.faults.order(Fault.known("pool.put", "capacity", in_operation=True))
    token = aks.begin_pool(1)
    until(lambda: not aks.operation("pool", token).running, "the operation has failed")
    state = aks.state()
    assert (state.provisioning, state.busy, state.pool_count) == ("Failed", False, 0)
    again = aks.begin_pool(1)
    until(lambda: not aks.operation("pool", again).running, "the pool has a node")
    assert (aks.state().provisioning, aks.state().pool_count) == ("Succeeded", 1)
