"""Long operations: one at a time, resumed, aborted, failing."""

from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
)
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool, TagsObject
from azure.mgmt.core.polling.arm_polling import ARMPolling

from localcloud.arm import Delays, ProvisioningError
from tests.contract.aks_stand_in.arm import SLOW, Arm, put_count


async def test_a_second_operation_is_refused_while_one_runs(slow_arm: Arm) -> None:
    def twice(client: ContainerServiceClient) -> None:
        put_count(client, 1)
        client.managed_clusters.begin_stop("slipway", "slipway")

    with pytest.raises(ResourceExistsError) as refused:
        await slow_arm.sdk(twice)
    assert refused.value.status_code == 409
    assert refused.value.error is not None and refused.value.error.code == "OperationNotAllowed"


async def test_an_operation_resumes_from_its_token_in_another_client(tmp_path: Path) -> None:
    """Also when the stand-in itself was ended and started again meanwhile."""
    waiting = Delays(start=0, stop=0, scale_up=1.0, scale_down=0, node_join=0)
    async with Arm(tmp_path, waiting) as first:
        token = await first.sdk(lambda client: put_count(client, 1).continuation_token())
        port = first.server.port
    assert first.control.cluster.pools["gpu"].instances == ()
    async with Arm(tmp_path, waiting, port=port) as second:
        pool = await second.sdk(
            lambda client: client.agent_pools.begin_create_or_update(
                "slipway", "slipway", "gpu", AgentPool(), continuation_token=token
            ).result()
        )
        assert pool.properties is not None and pool.properties.count == 1
        assert second.infrastructure.seen[-1].pools["gpu"].instances == (0,)


async def test_a_cluster_that_was_starting_when_killed_starts_in_the_next_process(tmp_path: Path) -> None:
    async with Arm(tmp_path) as first:
        await first.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    async with Arm(tmp_path, SLOW) as second:
        await second.sdk(lambda client: client.managed_clusters.begin_start("slipway", "slipway"))
    async with Arm(tmp_path, SLOW) as third:
        running = third.control.cluster.running_operation
        assert running is not None and running.kind == "Starting"
        assert third.infrastructure.seen == []


TAGS = TagsObject(tags={"team": "vision"})


def begin_unattended(client: ContainerServiceClient, count: int) -> str:
    """Begins to scale the GPU pool without a thread that waits for it; gives the operation's token."""
    pool = client.agent_pools.get("slipway", "slipway", "gpu")
    assert pool.properties is not None
    pool.properties.count = count
    begun = client.agent_pools.begin_create_or_update("slipway", "slipway", "gpu", pool, polling=Unattended())
    return str(begun.continuation_token())


class Unattended(ARMPolling):
    def run(self) -> None:
        pass


@pytest.mark.parametrize("of", ["cluster", "pool"])
async def test_an_aborted_operation_is_canceled_and_frees_the_cluster(slow_arm: Arm, of: str) -> None:
    def abort(client: ContainerServiceClient) -> Any:
        pools = client.agent_pools
        token = begin_unattended(client, 3)
        if of == "cluster":
            client.managed_clusters.begin_abort_latest_operation("slipway", "slipway").result()
        else:
            pools.begin_abort_latest_operation("slipway", "slipway", "gpu").result()
        with pytest.raises(HttpResponseError, match=r"Canceled|aborted"):
            pools.begin_create_or_update("slipway", "slipway", "gpu", AgentPool(), continuation_token=token).result()
        return pools.get("slipway", "slipway", "gpu").properties

    properties = await slow_arm.sdk(abort)
    assert (properties.provisioning_state, properties.count) == ("Canceled", 0)
    assert slow_arm.control.cluster.running_operation is None


async def test_a_pool_that_does_nothing_has_nothing_to_abort(slow_arm: Arm) -> None:
    def abort(client: ContainerServiceClient) -> None:
        begin_unattended(client, 3)
        client.agent_pools.begin_abort_latest_operation("slipway", "slipway", "system")

    with pytest.raises(ResourceExistsError, match="no operation in progress on agent pool 'system'"):
        await slow_arm.sdk(abort)


async def test_an_operation_under_way_says_when_to_look_again(slow_arm: Arm) -> None:
    answers: list[Any] = []

    def stop(client: ContainerServiceClient) -> None:
        client.managed_clusters.begin_stop("slipway", "slipway", polling=Unattended(), raw_response_hook=answers.append)

    await slow_arm.sdk(stop)
    headers = answers[0].http_response.headers
    assert headers["Retry-After"] == "10"
    assert {"Azure-AsyncOperation", "Location"} <= set(headers)


async def test_infrastructure_that_fails_fails_the_operation(arm: Arm) -> None:
    arm.infrastructure.failure = ProvisioningError("AllocationFailed", "No capacity for Standard_NC4as_T4_v3.")
    with pytest.raises(HttpResponseError, match="No capacity"):
        await arm.sdk(lambda client: put_count(client, 1).result())
    assert arm.control.cluster.pools["gpu"].provisioning_state == "Failed"


async def test_a_failed_operation_leaves_what_was(arm: Arm) -> None:
    """Machines that never came are not counted, and do not come with the next operation."""
    arm.infrastructure.failure = ProvisioningError("AllocationFailed", "No capacity.")
    with pytest.raises(HttpResponseError):
        await arm.sdk(lambda client: put_count(client, 2).result())
    assert (arm.control.cluster.pools["gpu"].count, arm.control.cluster.pools["gpu"].instances) == (0, ())
    arm.infrastructure.failure = None
    await arm.sdk(lambda client: client.managed_clusters.begin_update_tags("slipway", "slipway", TAGS).result())
    assert arm.infrastructure.seen[-1].pools["gpu"].instances == ()


async def test_a_start_that_fails_leaves_the_cluster_stopped(arm: Arm) -> None:
    await arm.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    arm.infrastructure.failure = ProvisioningError("InternalOperationError", "No.")
    with pytest.raises(HttpResponseError):
        await arm.sdk(lambda client: client.managed_clusters.begin_start("slipway", "slipway").result())
    assert (arm.control.cluster.power, arm.control.cluster.provisioning_state) == ("Stopped", "Failed")
