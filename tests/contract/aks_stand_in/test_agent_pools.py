"""Agent pools, as Azure's management SDK reads and writes them."""

import io
import json
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceModifiedError,
)
from azure.mgmt.containerservice import ContainerServiceClient

from tests.contract.aks_stand_in.arm import Arm, put_count


async def test_a_pool_scales_and_its_machines_follow(arm: Arm) -> None:
    pool = await arm.sdk(lambda client: put_count(client, 2).result())
    assert (pool.properties.count, pool.properties.provisioning_state) == (2, "Succeeded")
    assert arm.infrastructure.seen[-1].pools["gpu"].instances == (0, 1)


async def test_machines_that_come_back_are_new_ones(arm: Arm) -> None:
    """A scale set numbers its instances on and on."""
    for count in (1, 0, 1):
        await arm.sdk(lambda client, count=count: put_count(client, count).result())  # type: ignore[misc]  # count bound
    assert arm.infrastructure.seen[-1].pools["gpu"].instances == (1,)


async def test_while_a_pool_scales_both_it_and_the_cluster_say_so(slow_arm: Arm) -> None:
    def states(client: ContainerServiceClient) -> tuple[Any, Any, Any]:
        put_count(client, 1)
        cluster, pool = (
            client.managed_clusters.get("slipway", "slipway"),
            client.agent_pools.get("slipway", "slipway", "gpu"),
        )
        assert cluster.properties is not None and pool.properties is not None
        return cluster.properties.provisioning_state, pool.properties.provisioning_state, pool.properties.count

    assert await slow_arm.sdk(states) == ("Updating", "Scaling", 1)


async def test_the_system_pool_cannot_go_to_0(arm: Arm) -> None:
    def shrink(client: ContainerServiceClient) -> None:
        client.agent_pools.begin_create_or_update("slipway", "slipway", "system", {"properties": {"count": 0}})

    with pytest.raises(HttpResponseError, match="at least 1 node"):
        await arm.sdk(shrink)


async def test_more_gpu_nodes_than_the_quota_are_refused(arm: Arm) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await arm.sdk(lambda client: put_count(client, 5))
    assert refused.value.error is not None and refused.value.error.code == "ErrCode_InsufficientVCPUQuota"


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"count": "many"}, "InvalidParameter"),
        ({"count": -1}, "InvalidParameter"),
        ({"vmSize": "Standard_D2s_v5"}, "PropertyChangeNotAllowed"),
        ({"mode": "Loud"}, "InvalidParameter"),
    ],
)
async def test_a_pool_that_cannot_be_is_refused_and_stays(arm: Arm, properties: dict[str, object], code: str) -> None:
    before = arm.control.cluster
    with pytest.raises(HttpResponseError) as refused:
        await arm.sdk(
            lambda client: client.agent_pools.begin_create_or_update(
                "slipway", "slipway", "gpu", io.BytesIO(json.dumps({"properties": properties}).encode())
            )
        )
    assert refused.value.status_code == 400
    assert refused.value.error is not None and refused.value.error.code == code
    assert arm.control.cluster == before


async def test_a_pool_is_created_and_deleted(arm: Arm) -> None:
    def create(client: ContainerServiceClient) -> Any:
        body = {
            "properties": {
                "count": 1,
                "vmSize": "Standard_NC4as_T4_v3",
                "mode": "User",
                "nodeTaints": ["a=b:NoSchedule"],
            }
        }
        return client.agent_pools.begin_create_or_update(
            "slipway", "slipway", "spot", io.BytesIO(json.dumps(body).encode())
        ).result()

    created = await arm.sdk(create)
    assert (created.name, created.properties.node_taints) == ("spot", ["a=b:NoSchedule"])
    await arm.sdk(lambda client: client.agent_pools.begin_delete("slipway", "slipway", "spot").result())
    names = await arm.sdk(lambda client: [pool.name for pool in client.agent_pools.list("slipway", "slipway")])
    assert names == ["system", "gpu"]


async def test_a_stale_etag_is_refused(arm: Arm) -> None:
    def stale(client: ContainerServiceClient) -> None:
        pool = client.agent_pools.get("slipway", "slipway", "gpu")
        assert pool.properties is not None
        etag = pool.properties.e_tag
        put_count(client, 1).result()
        client.agent_pools.begin_create_or_update(
            "slipway", "slipway", "gpu", pool, etag=etag, match_condition=MatchConditions.IfNotModified
        )

    with pytest.raises(ResourceModifiedError):
        await arm.sdk(stale)
