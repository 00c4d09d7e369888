"""A wake for which Azure has no nodes in the GPU pool goes on in the next pool, and what served before serves again, proven."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.arm import Fault
from tests.contract.aks_stand_in.arm import Arm, in_a_thread
from tests.contract.deployer.arm_adapter import adapter
from tests.contract.deployer.ladder_on_arm import AT_ONCE, LadderOnArm

POOLS = ("gpu", "gpuspot")


@pytest.fixture
def ladder(tmp_path: Path) -> Iterator[LadderOnArm]:
    with in_a_thread(Arm(tmp_path, AT_ONCE)) as arm, adapter(arm, fallback_pools=POOLS[1:]) as azure:
        yield LadderOnArm(arm, azure, pools=POOLS)


def nodes(ladder: LadderOnArm) -> dict[str, int]:
    return {name: len(ladder.arm.control.cluster.pools[name].instances) for name in POOLS}


@pytest.mark.parametrize("in_operation", [False, True], ids=["refused", "failed"])
@pytest.mark.parametrize("name", ["quota", "zonal-capacity"])
def test_a_wake_without_capacity_goes_on_in_the_next_pool(ladder: LadderOnArm, name: str, in_operation: bool) -> None:
    deployed = ladder.deployed
    ladder.until_stopped()
    deployed.world.pass_time(1300)
    ladder.arm.control.faults.order(Fault.known("pool.put", name, in_operation=in_operation))
    asked = len(proofs(ladder))
    deployed.request("cats")
    assert deployed.record("cats").route is None
    ladder.until_serving()
    assert nodes(ladder) == {"gpu": 0, "gpuspot": 1}
    record, cluster = deployed.record("cats"), deployed.state.cluster()
    assert record.route is not None and record.route.version == 1
    assert len(proofs(ladder)) > asked, "it serves without having answered its golden request again"
    assert (cluster.failure, cluster.refused, cluster.wakes) == (None, (), {})
    ladder.until_stopped()
    assert nodes(ladder) == {"gpu": 0, "gpuspot": 0}


def test_where_no_pool_has_capacity_it_is_told_and_the_next_request_tries_again(ladder: LadderOnArm) -> None:
    deployed = ladder.deployed
    ladder.until_stopped()
    deployed.world.pass_time(1300)
    ladder.arm.control.faults.order(Fault.known("pool.put", "capacity", times=None))
    deployed.request("cats")
    deployed.run(20)
    assert str(deployed.control.cluster()["failure"]).startswith("azure_capacity")
    for _ in range(10):
        deployed.world.pass_time(200)
        deployed.run(2)
    told = deployed.told_of("cats")
    assert (told["state"], told["asleep"]) != ("serving", False) and "azure_capacity" in str(told["reason"])
    assert deployed.record("cats").asleep
    ladder.arm.control.faults.clear()
    deployed.request("cats")
    ladder.until_serving()
    assert nodes(ladder) == {"gpu": 1, "gpuspot": 0}


def proofs(ladder: LadderOnArm) -> list[str]:
    """The golden requests that were asked."""
    return [effect.subject for effect in ladder.deployed.world.effects if effect.name == "server.predict"]
