"""The cluster port, as the adapter does it with Azure's SDK and unchanged credentials against the ARM stand-in."""

import urllib.request
from collections.abc import Iterator

import pytest
from azure.core.credentials import AccessToken
from azure.identity import DefaultAzureCredential

from deployer.adapters.aks import AksCluster, container_service
from deployer.errors import CloudRefused, SlipwayError
from deployer.ports import ClusterState
from deployer.settings import ClusterSettings
from tests.contract.deployer.aks_process import AksProcess, until

AWAKE = ClusterState(
    "Running", busy=False, pool_count=1, provisioning="Succeeded", pool_size="Standard_NC4as_T4_v3", pool_mode="User",
    pool_owned=True, owned=True, others={"Standard_D4s_v5": 1}, pool="gpu",
)  # fmt: skip


@pytest.fixture(autouse=True)
def awake(cluster: AksCluster) -> Iterator[None]:
    """Each test finds the cluster running with one GPU node, and leaves it so."""
    yield
    settled(cluster)
    if cluster.state().power == "Stopped":
        cluster.begin_start()
        settled(cluster)
    if cluster.state().pool_count != 1:
        cluster.begin_pool(1)
        settled(cluster)


def settled(cluster: AksCluster) -> None:
    until(lambda: not cluster.state().busy, "no operation is under way")


def test_the_state_is_power_and_pool(cluster: AksCluster) -> None:
    assert cluster.state() == AWAKE


def test_a_pool_goes_down_and_up_and_another_process_sees_it_through(
    cluster: AksCluster, cluster_settings: ClusterSettings, credential: DefaultAzureCredential
) -> None:
    token = cluster.begin_pool(0)
    state = cluster.state()
    assert state.busy and state.provisioning != "Succeeded"
    with container_service(cluster_settings, credential) as client:
        other = AksCluster(client, cluster_settings, credential)
        assert other.operation("pool", token).running
        until(lambda: not other.operation("pool", token).running, "the pool is empty")
        assert other.operation("pool", token).failure is None
        assert other.state().pool_count == 0


def test_an_operation_that_was_begun_is_not_waited_for(cluster: AksCluster) -> None:
    """It is begun, and the call is back while it still runs."""
    token = cluster.begin_pool(0)
    assert cluster.operation("pool", token).running


def test_a_second_operation_is_refused_as_busy(cluster: AksCluster) -> None:
    cluster.begin_pool(0)
    with pytest.raises(CloudRefused, match="Azure did not scale pool 'gpu' to 1") as refused:
        cluster.begin_pool(1)
    assert refused.value.code == "azure_busy"


def test_a_quota_is_told_as_one(cluster: AksCluster) -> None:
    with pytest.raises(CloudRefused, match="Insufficient vcpu quota") as refused:
        cluster.begin_pool(5)
    assert refused.value.code == "azure_quota"
    assert cluster.state() == AWAKE


def test_a_cluster_stops_and_starts(cluster: AksCluster) -> None:
    stop = cluster.begin_stop()
    until(lambda: not cluster.operation("stop", stop).running, "the cluster is stopped")
    assert cluster.state().power == "Stopped"
    with pytest.raises(CloudRefused, match="the cluster is stopped") as refused:
        cluster.begin_pool(2)
    assert refused.value.code == "azure_stopped"
    start = cluster.begin_start()
    until(lambda: not cluster.operation("start", start).running, "the cluster runs")
    assert cluster.operation("start", start).failure is None
    assert cluster.state().power == "Running"


def test_the_kubernetes_api_is_reached_as_the_credentials_say(cluster: AksCluster, aks: AksProcess) -> None:
    access = cluster.access()
    assert access.server.rstrip("/") == aks.ready["kubernetes_url"].rstrip("/")
    assert access.token is not None
    request = urllib.request.Request(  # noqa: S310
        f"{access.server.rstrip('/')}/api/v1/nodes", headers={"Authorization": f"Bearer {access.token()}"}
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        assert answer.status == 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"subscription_id": "00000000-0000-4000-8000-00000000dead"},
            "there is no subscription '00000000-0000-4000-8000-0",
        ),
        ({"resource_group": "missing"}, "there is no resource group 'missing'"),
        ({"name": "missing"}, "there is no cluster 'missing'"),
        ({"gpu_pool": "missing"}, "there is no agent pool 'missing'"),
    ],
)
def test_what_is_not_there_is_named(
    cluster_settings: ClusterSettings, credential: DefaultAzureCredential, change: dict[str, str], told: str
) -> None:
    settings = cluster_settings.model_copy(update=change)
    with container_service(settings, credential) as client, pytest.raises(CloudRefused, match=told) as refused:
        AksCluster(client, settings, credential).state()
    assert refused.value.code == "azure_not_found"
    assert f"SLIPWAY_CLUSTER__{next(iter(change)).upper()}" in refused.value.hint


class Forged:
    """A credential that Azure does not know."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken("forged", 2**31)


def test_a_token_that_azure_does_not_know_is_told(cluster_settings: ClusterSettings) -> None:
    with container_service(cluster_settings, Forged()) as client, pytest.raises(CloudRefused) as refused:
        AksCluster(client, cluster_settings, Forged()).state()
    assert refused.value.code == "azure_sign_in"


@pytest.mark.parametrize("url", ["http://management.example.com", "http://10.0.0.4:8080", "http://127.example.com"])
def test_a_token_never_travels_over_plain_http_to_another_machine(cluster_settings: ClusterSettings, url: str) -> None:
    with pytest.raises(SlipwayError, match="plain http") as refused:
        container_service(cluster_settings.model_copy(update={"arm_url": url}), Forged())
    assert refused.value.code == "bad_setting"
