"""Where Azure gives the GPU pool no nodes, the next pool gets them: planner, executor and both adapters on the AKS stand-in.

Its ARM refuses as ordered, its nodes come and go with the pools, and its pods are processes.
"""

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import TokenCredential
from azure.identity import ManagedIdentityCredential
from kubernetes import client as kubernetes_client

from deployer.adapters.aks import AksCluster, container_service
from deployer.idle import EmptyPool, SleepModels
from deployer.ports import Cluster, ClusterAccess
from deployer.settings import ClusterSettings, Settings
from localcloud.azurite import Azurite
from tests.contract.deployer.aks_process import AksProcess, until
from tests.contract.deployer.conftest import with_servables
from tests.contract.deployer.real_rollouts import RealRollouts

FAMILY = "standardNCASv3_T4Family"
SPARE = {
    "properties": {
        "count": 0, "vmSize": "Standard_NC4as_T4_v3", "mode": "User", "osType": "Linux", "scaleSetPriority": "Spot",
        "tags": {"slipway": "owned"},
    }
}  # fmt: skip


class OnAks(RealRollouts):
    """``RealRollouts`` with the managed cluster in the place of a kubeconfig's, and two GPU pools."""

    def __init__(self, settings: ClusterSettings, credential: TokenCredential) -> None:
        self._managed = AksCluster(container_service(settings, credential), settings, credential)
        self.policy = replace(RealRollouts.policy, pools=settings.gpu_pools)
        self.gpu_nodes = Settings(cluster=settings).gpu_node_selector
        super().__init__(Path(), "kubeflow", "test/serving:1")

    def reached(self) -> tuple[Cluster, Callable[[], ClusterAccess]]:
        """As ``deployer.wiring`` does it."""
        return self._managed, self._managed.access


class Subscription:
    """What its owner does and sees by other means than Slipway's."""

    def __init__(self, ready: Mapping[str, str], credential: TokenCredential) -> None:
        self._ready = ready
        self._token = credential.get_token("https://management.azure.com/.default").token
        self._cluster = (
            f"/subscriptions/{ready['subscription_id']}/resourceGroups/{ready['resource_group']}"
            f"/providers/Microsoft.ContainerService/managedClusters/{ready['cluster_name']}"
        )

    def order(self, **fault: Any) -> None:
        """Azure will answer so."""
        self._ask("POST", "/admin/faults", fault)

    def relent(self) -> None:
        """Azure has nodes again."""
        self._ask("DELETE", "/admin/faults")

    def make_pool(self, name: str, body: Mapping[str, Any]) -> None:
        """A pool that is there before Slipway."""
        self._ask("PUT", f"{self._cluster}/agentPools/{name}?api-version=2026-08-01", body)

    def counts(self) -> dict[str, int]:
        """The nodes of the GPU pools as they were asked for."""
        found = self._ask("GET", f"{self._cluster}/agentPools?api-version=2026-08-01")["value"]
        return {pool["name"]: pool["properties"]["count"] for pool in found if pool["properties"]["mode"] == "User"}

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  (our own address)
            self._ready["arm_url"] + path, None if body is None else json.dumps(body).encode(), method=method,
            headers={
                "Authorization": f"Bearer {self._token}", "X-IDENTITY-HEADER": self._ready["identity_header"],
                "Content-Type": "application/json",
            },
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.loads(answer.read())


@pytest.fixture(scope="module")
def aks(azurite_server: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AksProcess]:
    """The stand-in with an empty GPU pool."""
    process = AksProcess(
        tmp_path_factory.mktemp("pools"), with_servables(azurite_server, "test397"), ["--gpu-nodes", "0"]
    )
    yield process
    process.end()


@pytest.fixture
def credential(aks: AksProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenCredential]:
    monkeypatch.setenv("IDENTITY_ENDPOINT", aks.ready["identity_endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", aks.ready["identity_header"])
    with ManagedIdentityCredential() as made:
        yield made


@pytest.fixture
def subscription(aks: AksProcess, credential: TokenCredential) -> Iterator[Subscription]:
    made = Subscription(aks.ready, credential)
    if "gpuspot" not in made.counts():
        made.make_pool("gpuspot", SPARE)
    yield made
    made.relent()


@pytest.fixture
def deployed(aks: AksProcess, credential: TokenCredential, subscription: Subscription) -> Iterator[OnAks]:
    ready = aks.ready
    settings = ClusterSettings(
        subscription_id=ready["subscription_id"], resource_group=ready["resource_group"], name=ready["cluster_name"],
        gpu_pool=ready["gpu_pool"], fallback_pools=("gpuspot",), arm_url=ready["arm_url"],
    )  # fmt: skip
    made = OnAks(settings, credential)
    yield made
    made.real.delete_model("cats")


def pools_with_pods(aks: AksProcess) -> set[str]:
    """The pools on whose nodes pods of models are."""
    configuration = kubernetes_client.Configuration(host=aks.ready["kubernetes_url"])
    configuration.api_key = {"BearerToken": f"Bearer {aks.ready['kubernetes_token']}"}
    with kubernetes_client.ApiClient(configuration) as api:
        pods = kubernetes_client.CoreV1Api(api).list_namespaced_pod("slipway").items
    return {pod.spec.node_name.split("-")[1] for pod in pods if pod.spec.node_name}  # aks-POOL-NUMBER-vmss…


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        ({"known": "quota"}, "azure_quota", FAMILY),
        ({"known": "capacity", "does": "fail"}, "azure_capacity", "Standard_NC4as_T4_v3"),
    ],
    ids=["refused-for-quota", "failed-for-capacity"],
)
def test_the_next_pool_gets_the_nodes_serves_and_goes_down_the_ladder(
    deployed: OnAks, aks: AksProcess, subscription: Subscription, fault: dict[str, str], code: str, word: str
) -> None:
    subscription.order(on="pool.put", **fault)
    told: set[str] = set()

    def served() -> bool:
        told.add(str(deployed.control.cluster()["failure"]))
        record = deployed.state.find("cats")
        return record is not None and record.settled and record.route is not None

    deployed.store.drop("cats.keras", "one")
    deployed.run_until(served, "it is served")
    assert any(failure.startswith(f"{code}: Azure did not scale pool 'gpu'") and word in failure for failure in told)
    assert subscription.counts() == {"gpu": 0, "gpuspot": 1}
    assert pools_with_pods(aks) == {"gpuspot"}
    assert deployed.poison == []
    shown = deployed.control.cluster()
    assert (shown["failure"], shown["pool"]["name"], shown["pool"]["count"]) == (None, "gpuspot", 1)

    # Down the ladder: the pods go, then the nodes of the pool that came up.
    deployed.world.pass_time(3600)
    assert isinstance(deployed.tick(), SleepModels)
    deployed.run_until(lambda: all(work.pods == 0 for work in deployed.real.of("cats")), "its pods are gone")
    deployed.world.pass_time(3600)
    assert isinstance(deployed.tick(), EmptyPool)
    deployed.run_until(lambda: not deployed.azure.state().busy, "the pool is empty")
    assert subscription.counts() == {"gpu": 0, "gpuspot": 0}

    # Up again: the first pool is tried first, and has nodes now.
    deployed.request("cats")
    deployed.run_until(served, "it is served again")
    assert subscription.counts() == {"gpu": 1, "gpuspot": 0}
    assert pools_with_pods(aks) == {"gpu"}
    deployed.control.order("sleep", None)
    until(lambda: subscription.counts() == {"gpu": 0, "gpuspot": 0}, "all pools are empty again")


def test_where_no_pool_has_nodes_that_is_told_and_the_first_that_gets_some_serves(
    deployed: OnAks, aks: AksProcess, subscription: Subscription
) -> None:
    subscription.order(on="pool.put", known="quota", times=None)
    deployed.store.drop("cats.keras", "one")
    deployed.run_until(
        lambda: set(deployed.state.cluster().refused) == {"gpu", "gpuspot"}, "both pools have been tried in vain"
    )
    deployed.run(5)
    rollout = deployed.told_of("cats")["rollout"]
    assert isinstance(rollout, dict)
    assert rollout["message"].startswith("azure_quota: Azure did not scale pool 'gpu") and FAMILY in rollout["message"]
    subscription.relent()
    deployed.settled_on("cats", 1)
    assert sorted(subscription.counts().values()) == [0, 1]
    assert deployed.poison == []
    deployed.control.order("sleep", None)
    until(lambda: subscription.counts() == {"gpu": 0, "gpuspot": 0}, "all pools are empty again")
