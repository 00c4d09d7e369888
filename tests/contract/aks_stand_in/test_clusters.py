"""Managed clusters, as Azure's management SDK reads them, starts and stops them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import TagsObject

from localcloud.arm import AKS_SERVER_APPLICATION_ID
from tests.contract.aks_stand_in.arm import Arm, put_count


async def test_a_cluster_reads_as_the_sdk_models_it(arm: Arm) -> None:
    cluster = await arm.sdk(lambda client: client.managed_clusters.get("slipway", "slipway"))
    properties = cluster.properties
    assert properties is not None and properties.power_state is not None
    assert (cluster.name, cluster.location) == ("slipway", "westeurope")
    assert (properties.provisioning_state, properties.power_state.code) == ("Succeeded", "Running")
    assert [(pool.name, pool.count, pool.mode) for pool in properties.agent_pool_profiles or []] == [
        ("system", 1, "System"),
        ("gpu", 0, "User"),
    ]


async def test_clusters_are_listed_by_subscription_and_by_group(arm: Arm) -> None:
    def names(client: ContainerServiceClient) -> list[list[str | None]]:
        clusters = client.managed_clusters
        return [[c.name for c in clusters.list()], [c.name for c in clusters.list_by_resource_group("SLIPWAY")]]

    assert await arm.sdk(names) == [["slipway"], ["slipway"]]


async def test_stop_and_start_change_the_power_state(arm: Arm) -> None:
    def power(client: ContainerServiceClient) -> Any:
        properties = client.managed_clusters.get("slipway", "slipway").properties
        assert properties is not None and properties.power_state is not None
        return properties.power_state.code

    await arm.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    assert await arm.sdk(power) == "Stopped"
    await arm.sdk(lambda client: client.managed_clusters.begin_start("slipway", "slipway").result())
    assert await arm.sdk(power) == "Running"


async def test_a_stopped_cluster_takes_nothing_but_a_start(arm: Arm) -> None:
    await arm.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    with pytest.raises(ResourceExistsError, match="only start and delete"):
        await arm.sdk(lambda client: put_count(client, 1))


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda client: client.managed_clusters.get("slipway", "other"), "ResourceNotFound"),
        (lambda client: client.managed_clusters.get("elsewhere", "slipway"), "ResourceGroupNotFound"),
        (lambda client: client.agent_pools.get("slipway", "slipway", "none"), "ResourceNotFound"),
    ],
)
async def test_what_is_not_there_is_not_found(
    arm: Arm, call: Callable[[ContainerServiceClient], object], code: str
) -> None:
    with pytest.raises(ResourceNotFoundError) as missing:
        await arm.sdk(call)
    assert missing.value.error is not None and missing.value.error.code == code


async def test_kubeconfigs_name_the_server_and_how_to_sign_in(arm: Arm) -> None:
    def configs(client: ContainerServiceClient) -> tuple[Any, Any]:
        user = client.managed_clusters.list_cluster_user_credentials("slipway", "slipway", format="exec")
        admin = client.managed_clusters.list_cluster_admin_credentials("slipway", "slipway")
        assert user.kubeconfigs and admin.kubeconfigs
        assert user.kubeconfigs[0].value is not None and admin.kubeconfigs[0].value is not None
        return json.loads(bytes(user.kubeconfigs[0].value)), json.loads(bytes(admin.kubeconfigs[0].value))

    user, admin = await arm.sdk(configs)
    assert user["clusters"][0]["cluster"]["server"] == "http://127.0.0.1:1/"
    assert AKS_SERVER_APPLICATION_ID in user["users"][0]["user"]["exec"]["args"]
    assert admin["users"][0]["user"]["token"] == "kube-token"


async def test_disabled_local_accounts_give_no_admin_credentials(tmp_path: Path) -> None:
    async with Arm(tmp_path, disable_local_accounts=True) as arm:
        with pytest.raises(HttpResponseError, match="disable local accounts"):
            await arm.sdk(lambda client: client.managed_clusters.list_cluster_admin_credentials("slipway", "slipway"))


async def test_tags_are_replaced_and_kept(arm: Arm) -> None:
    def tag(client: ContainerServiceClient) -> Any:
        tags = TagsObject(tags={"team": "vision"})
        tagged = client.managed_clusters.begin_update_tags("slipway", "slipway", tags).result()
        return tagged.tags, client.managed_clusters.get("slipway", "slipway").tags

    assert await arm.sdk(tag) == ({"team": "vision"}, {"team": "vision"})


async def test_a_cluster_is_written_back_with_a_change(arm: Arm) -> None:
    def disable(client: ContainerServiceClient) -> Any:
        cluster = client.managed_clusters.get("slipway", "slipway")
        assert cluster.properties is not None
        cluster.properties.disable_local_accounts = True
        return client.managed_clusters.begin_create_or_update("slipway", "slipway", cluster).result().properties

    assert (await arm.sdk(disable)).disable_local_accounts is True
    assert arm.control.cluster.disable_local_accounts


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("slipway", {"kubernetesVersion": "1.20.0"}, "has only 1.36.2"),
        ("slipway", {"agentPoolProfiles": [{"name": "gpu", "count": 3}]}, "PUT on the pool itself"),
        ("another", {}, "creates no other"),
    ],
)
async def test_a_change_that_the_stand_in_cannot_make_is_refused(
    arm: Arm, name: str, change: dict[str, object], told: str
) -> None:
    body = json.dumps({"location": "westeurope", "properties": change}).encode()
    before = arm.control.cluster
    with pytest.raises(HttpResponseError, match=told):
        await arm.sdk(lambda client: client.managed_clusters.begin_create_or_update("slipway", name, io.BytesIO(body)))
    assert arm.control.cluster == before


@pytest.mark.parametrize("stopped_before", [False, True])
async def test_a_deleted_cluster_is_gone_with_its_pools(arm: Arm, stopped_before: bool) -> None:
    if stopped_before:
        await arm.sdk(lambda client: client.managed_clusters.begin_stop("slipway", "slipway").result())
    await arm.sdk(lambda client: client.managed_clusters.begin_delete("slipway", "slipway").result())
    with pytest.raises(ResourceNotFoundError):
        await arm.sdk(lambda client: client.managed_clusters.get("slipway", "slipway"))
    assert await arm.sdk(lambda client: list(client.managed_clusters.list())) == []
    assert (arm.infrastructure.seen[-1].power, arm.control.cluster.pools) == ("Stopped", {})


async def test_without_entra_the_user_credentials_hold_a_token(tmp_path: Path) -> None:
    def user(client: ContainerServiceClient) -> Any:
        found = client.managed_clusters.list_cluster_user_credentials("slipway", "slipway", format="exec")
        assert found.kubeconfigs and found.kubeconfigs[0].value is not None
        return json.loads(bytes(found.kubeconfigs[0].value))["users"][0]["user"]

    async with Arm(tmp_path, entra=False) as arm:
        assert await arm.sdk(user) == {"token": "kube-token"}
