"""One AKS stand-in for the tests of both its adapters; each test works on a model of its own."""

from collections.abc import Iterator

import pytest
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.storage.blob import BlobServiceClient

from deployer.adapters.aks import AksCluster, container_service
from deployer.settings import ClusterSettings
from localcloud.azurite import Azurite
from tests.contract.deployer.aks_process import AksProcess

_ACCOUNT = "test399"


@pytest.fixture(scope="module")
def aks(azurite_server: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AksProcess]:
    """The stand-in, with a GPU pool of one node, and a storage account whose servables its pods mount."""
    process = AksProcess(tmp_path_factory.mktemp("aks"), with_servables(azurite_server, _ACCOUNT))
    yield process
    process.end()


@pytest.fixture(scope="module")
def kserve_cluster(azurite_server: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AksProcess]:
    """The stand-in with KServe installed."""
    storage = with_servables(azurite_server, "test398")
    process = AksProcess(tmp_path_factory.mktemp("kserve"), storage, ["--kserve"])
    yield process
    process.end()


def with_servables(azurite: Azurite, account: str) -> str:
    """An account with the container that pods mount."""
    storage = azurite.connection_string(account)
    with BlobServiceClient.from_connection_string(storage) as service:
        if "servables" not in [container.name for container in service.list_containers()]:
            service.create_container("servables").close()
    return storage


@pytest.fixture
def cluster_settings(aks: AksProcess) -> ClusterSettings:
    """As the local cloud sets them for the app."""
    ready = aks.ready
    return ClusterSettings(
        subscription_id=ready["subscription_id"], resource_group=ready["resource_group"], name=ready["cluster_name"],
        gpu_pool=ready["gpu_pool"], arm_url=ready["arm_url"],
    )  # fmt: skip


@pytest.fixture(params=[DefaultAzureCredential, ManagedIdentityCredential], ids=["default", "managed-identity"])
def credential(
    request: pytest.FixtureRequest, aks: AksProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DefaultAzureCredential | ManagedIdentityCredential]:
    """The unchanged credential, by the environment that the local cloud gives to the app."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", aks.ready["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", aks.ready["identity_header"])
    with request.param() as made:
        yield made


@pytest.fixture
def cluster(
    cluster_settings: ClusterSettings, credential: DefaultAzureCredential | ManagedIdentityCredential
) -> Iterator[AksCluster]:
    """The adapter."""
    with container_service(cluster_settings, credential) as client:
        yield AksCluster(client, cluster_settings, credential)
