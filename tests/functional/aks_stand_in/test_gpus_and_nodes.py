"""GPUs are known once a device plugin is there; nodes say of themselves what AKS has them say."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcloud.azurite import Azurite
from tests.functional.aks_stand_in.stand import REPOSITORY, Namespace, Stand, condition, running, until

GPU: Any = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
ON_GPU: Any = {"nodeSelector": {"agentpool": "gpu"}, "tolerations": [{"key": "sku", "operator": "Exists"}]}
SETS = "/apis/apps/v1/namespaces/kube-system/daemonsets"


@pytest.fixture
def bare_stand(tmp_path_factory: pytest.TempPathFactory, azurite_server: Azurite) -> Iterator[Stand]:
    """A new cluster without a device plugin."""
    account = list(azurite_server.accounts)[-1]
    storage = azurite_server.connection_string(account)
    with running(tmp_path_factory.mktemp("aks"), storage, "--no-device-plugin", "--image-pull", "0.5") as stand:
        yield stand


def gpu_node(stand: Stand) -> Any:
    """The node of the GPU pool."""
    return stand.api("GET", "/api/v1/nodes?labelSelector=agentpool%3Dgpu")["items"][0]


def plugin(**changes: object) -> Any:
    """The template of the device plugin, with changes to its pods."""
    document = yaml.safe_load((REPOSITORY / "k8s_templates" / "gpu-device-plugin.yaml").read_text())
    document["spec"]["template"]["spec"].update(changes)
    return document


def unschedulable(space: Namespace, pod: str) -> str | None:
    """Why the pod has no node."""
    conditions = {each["type"]: each for each in space.get("pods", pod)["status"]["conditions"]}
    message: str | None = conditions["PodScheduled"].get("message")
    return message


def test_gpus_are_known_once_a_device_plugin_runs_on_the_node(bare_stand: Stand) -> None:
    """One that does not tolerate the pool's taint changes nothing; one that goes takes the GPUs with it."""
    space = bare_stand.namespace("work")
    until(lambda: condition(gpu_node(bare_stand), "Ready") == "True", "the node is ready")
    assert "nvidia.com/gpu" not in gpu_node(bare_stand)["status"]["capacity"]
    space.pod("first", spec=ON_GPU, **GPU)
    until(lambda: "Insufficient nvidia.com/gpu" in str(unschedulable(space, "first")), "the pod has no node")
    intolerant = plugin(tolerations=[])
    bare_stand.api("POST", SETS, intolerant)
    bare_stand.api("DELETE", f"{SETS}/{intolerant['metadata']['name']}")
    until(lambda: not bare_stand.api("GET", SETS)["items"], "it has gone again")
    assert "nvidia.com/gpu" not in gpu_node(bare_stand)["status"]["capacity"]
    bare_stand.api("POST", SETS, plugin())
    until(lambda: gpu_node(bare_stand)["status"]["allocatable"]["nvidia.com/gpu"] == "1", "the GPU is known")
    until(lambda: space.get("pods", "first")["status"]["phase"] == "Running", "the pod runs")
    assert {"Pulling", "Pulled"} <= space.events("first").keys()
    assert "Successfully pulled image" in space.events("first")["Pulled"]
    bare_stand.api("DELETE", f"{SETS}/{intolerant['metadata']['name']}")
    until(lambda: gpu_node(bare_stand)["status"]["allocatable"]["nvidia.com/gpu"] == "0", "the GPU is not to be had")
    assert space.get("pods", "first")["status"]["phase"] == "Running"


def test_a_cluster_comes_with_a_device_plugin_unless_told_otherwise(shared_stand: Stand) -> None:
    names = [each["metadata"]["name"] for each in shared_stand.api("GET", SETS)["items"]]
    assert names == [plugin()["metadata"]["name"]]
    until(lambda: gpu_node(shared_stand)["status"]["allocatable"]["nvidia.com/gpu"] == "1", "the GPU is known")


def test_a_node_renews_its_lease_and_takes_it_along(shared_stand: Stand) -> None:
    node = until(lambda: gpu_node(shared_stand), "there is a node")
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node['metadata']['name']}"
    lease = until(lambda: shared_stand.api("GET", path), "there is a lease")
    assert lease["spec"]["holderIdentity"] == node["metadata"]["name"]
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


def test_the_taint_of_the_gpu_pool_keeps_others_away(space: Namespace) -> None:
    space.pod("stray", spec={"nodeSelector": {"agentpool": "gpu"}})
    until(lambda: "untolerated taint" in str(unschedulable(space, "stray")), "the pod has no node")
    assert "1 node(s) didn't match Pod's node affinity/selector" in str(unschedulable(space, "stray"))


def test_labels_and_taints_of_a_pool_are_taken_over_by_its_nodes(azurite: str, tmp_path: Path) -> None:
    """Those that others have set stay."""
    with running(tmp_path, azurite) as stand:
        until(lambda: condition(gpu_node(stand), "Ready") == "True", "the node is ready")
        path = f"/api/v1/nodes/{gpu_node(stand)['metadata']['name']}"
        merge = {"Content_Type": "application/strategic-merge-patch+json"}
        stand.api("PATCH", path, {"metadata": {"labels": {"mine": "1"}}}, **merge)
        taints = ["sku=gpu:NoSchedule", "team=blue:NoExecute"]
        pool = {"count": 1, "nodeLabels": {"tier": "fast"}, "nodeTaints": taints}
        stand.arm("PUT", "/agentPools/gpu", {"properties": pool})
        stand.settled()
        until(lambda: gpu_node(stand)["metadata"]["labels"]["tier"] == "fast", "the node has the label")
        blue = {"key": "team", "value": "blue", "effect": "NoExecute"}
        assert blue in gpu_node(stand)["spec"]["taints"]
        stand.arm("PUT", "/agentPools/gpu", {"properties": {"count": 1, "nodeLabels": {}, "nodeTaints": taints[:1]}})
        stand.settled()
        until(lambda: "tier" not in gpu_node(stand)["metadata"]["labels"], "the label has gone")
        assert [taint["key"] for taint in gpu_node(stand)["spec"]["taints"]] == ["sku"]
        assert gpu_node(stand)["metadata"]["labels"]["mine"] == "1"
