"""On a cluster that is not Slipway's to scale, rollouts work, the idle ladder ends at pods, and Azure is never asked."""

import json
from datetime import timedelta

import pytest

from deployer.adapters.existing_cluster import ExistingCluster
from deployer.errors import ClusterUnreachable, SlipwayError
from deployer.idle import SleepModels, Stay
from deployer.settings import Settings
from tests.deployed import Deployed


def on_existing_cluster(*, gpus: int = 1) -> Deployed:
    """The fake Kubernetes with its nodes, behind the adapter for existing clusters."""
    deployed = Deployed(gpus=gpus, pool_count=gpus)
    deployed.azure = ExistingCluster()
    deployed.restart()
    return deployed


def asked_of_azure(deployed: Deployed) -> list[str]:
    return [effect.name for effect in deployed.world.effects if effect.name.startswith("cluster.")]


def test_a_model_is_served_switched_and_nobody_asks_azure() -> None:
    deployed = on_existing_cluster(gpus=2).drop("cats.keras", "one").drop("cats.keras", "two")
    assert deployed.serving("cats") == 2
    assert asked_of_azure(deployed) == []


def test_the_idle_ladder_ends_at_pods() -> None:
    deployed = on_existing_cluster().drop("cats.keras", "one")
    deployed.world.pass_time(3600)
    assert isinstance(deployed.tick(), SleepModels)
    assert deployed.run(60).kubernetes.replicas("cats") == {1: 0}
    for _ in range(3):
        deployed.world.pass_time(timedelta(hours=5).total_seconds())
        assert deployed.tick() == Stay("all models are asleep")
    assert asked_of_azure(deployed) == []
    deployed.request("cats")
    assert deployed.run().serving("cats") == 1


def test_the_state_of_the_cluster_says_that_its_nodes_are_not_ours() -> None:
    deployed = on_existing_cluster().drop("cats.keras", "one")
    shown = deployed.control.cluster()
    assert (shown["state"], shown["power"], shown["provisioning"], shown["pool"]) == (
        "awake",
        "Running",
        "Existing",
        None,
    )
    assert deployed.control.order("sleep", None)["state"] == "pods"
    assert deployed.run().control.order("wake", None)["state"] == "waking"
    assert deployed.run().serving("cats") == 1
    assert deployed.control.cluster()["state"] == "awake"
    json.dumps(deployed.control.cluster())


def test_a_pod_asks_for_a_gpu_before_there_is_a_node() -> None:
    """An autoscaler brings a node because a pod waits for one: waiting for the node first would be waiting for ever."""
    deployed = on_existing_cluster(gpus=0)
    deployed.drop("cats.keras", "one", seconds=30)
    assert deployed.kubernetes.replicas("cats") == {1: 1}
    status = deployed.record("cats").rollout
    assert status is not None and "no node has room" in status.message
    deployed.run(900)
    upload = deployed.record("cats").upload
    assert upload is not None and upload.state == "failed"
    assert "device plugin" in (upload.hint or "")


def test_a_cluster_that_does_not_answer_is_waited_for_and_then_told() -> None:
    deployed = on_existing_cluster()
    for name in ("nodes", "of", "selected"):
        deployed.world.fail(
            f"workloads.{name}", ClusterUnreachable("kubernetes_unreachable", "no answer"), times=10_000
        )
    deployed.drop("cats.keras", "one", seconds=60)
    assert deployed.record("cats").rollout is not None
    deployed.run(2400)
    upload = deployed.record("cats").upload
    assert upload is not None and "did not answer within" in (upload.reason or "")
    assert "SLIPWAY_CLUSTER__KUBECONFIG" in (upload.hint or "")


def test_what_would_change_its_nodes_is_refused() -> None:
    cluster = ExistingCluster()
    for begin in (cluster.begin_start, cluster.begin_stop, cluster.begin_delete, lambda: cluster.begin_pool(1)):
        with pytest.raises(SlipwayError, match="not Slipway's to start, stop, scale or delete"):
            begin()
    assert not cluster.operation("pool", "from before").running


def test_nodes_are_chosen_by_pool_by_labels_or_by_what_they_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().gpu_node_selector == {"agentpool": "gpu"}
    monkeypatch.setenv("SLIPWAY_CLUSTER__KUBECONFIG", "/home/me/.kube/config")
    assert Settings().gpu_node_selector == {}
    monkeypatch.setenv("SLIPWAY_SERVING__GPU_NODE_SELECTOR", '{"accelerator": "nvidia-t4"}')
    assert Settings().gpu_node_selector == {"accelerator": "nvidia-t4"}
