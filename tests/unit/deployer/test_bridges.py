"""A replica on CPU answers for a model on GPUs while that sleeps or wakes, is proven first, and goes once GPUs serve."""

from typing import Any

import pytest

from deployer.errors import CloudRefused
from deployer.record import Bridge
from deployer.settings import ServingSettings, Settings
from deployer.templates import Templates
from tests.deployed import Deployed
from tests.fake_cluster import Told
from tests.fakes import Killed
from tests.unit.deployer.test_idle_and_wake import idle

HOUR = 3600.0
BRIDGE = "tfs-cats--bridge-v1"


def bridged(*, gpus: int = 1) -> Deployed:
    deployed = Deployed()
    deployed.bridged = True
    deployed.restart()
    if gpus != 1:
        deployed.store.drop("cats.yaml", f"gpus: {gpus}", event=False)
    return deployed.drop("cats.keras", "one")


def address(deployed: Deployed) -> str | None:
    bridge = deployed.record("cats").bridge
    return bridge.address if bridge else None


def objects(deployed: Deployed) -> set[str]:
    return {kind for kind, name in deployed.kubernetes.objects if "bridge" in name}


def test_it_stands_while_the_model_sleeps_and_the_ladder_takes_no_notice() -> None:
    deployed = bridged()
    assert not objects(deployed)
    idle(deployed, HOUR)
    assert deployed.kubernetes.ready(BRIDGE)
    assert (address(deployed), deployed.cluster.state().pool_count) == (f"http://{BRIDGE}:8501", 0)
    assert deployed.control.cluster()["state"] == "pool"


def test_it_stands_during_the_wake_and_goes_once_the_gpus_serve() -> None:
    deployed = bridged()
    idle(deployed, HOUR)
    deployed.request("cats")
    deployed.run(20)
    assert deployed.serving("cats") is None
    assert address(deployed) is not None
    deployed.run(120)
    assert deployed.serving("cats") == 1
    deployed.tick()
    assert (deployed.record("cats").bridge, objects(deployed)) == (None, set())
    assert deployed.kubernetes.replicas("cats") == {1: 1}


def test_it_is_not_used_before_it_has_answered_its_golden_request() -> None:
    deployed = bridged()
    deployed.kubernetes.told[BRIDGE] = Told(answer=0.123)
    idle(deployed, HOUR)
    assert deployed.kubernetes.ready(BRIDGE)
    assert deployed.record("cats").bridge == Bridge(version=1)
    del deployed.kubernetes.told[BRIDGE]
    idle(deployed, HOUR / 12)
    assert address(deployed) is not None


def test_nobody_is_sent_to_it_while_the_cluster_is_stopped() -> None:
    deployed = bridged()
    idle(deployed, 3 * HOUR)
    assert deployed.cluster.state().power == "Stopped"
    assert deployed.record("cats").bridge == Bridge(version=1)
    deployed.request("cats")
    deployed.run(300)
    deployed.tick()
    assert (deployed.serving("cats"), deployed.record("cats").bridge) == (1, None)


def test_a_model_on_cpu_or_that_never_served_has_none() -> None:
    deployed = bridged(gpus=0)
    idle(deployed, HOUR)
    assert deployed.record("cats").asleep and not objects(deployed)
    deployed = Deployed()
    deployed.bridged = True
    deployed.restart()
    deployed.kubernetes.told["tfs-cats-v1"] = Told(answer=9)
    deployed.drop("cats.keras", "one")
    idle(deployed, HOUR)
    assert not objects(deployed)


def test_a_removed_model_takes_it_along_and_so_does_the_setting() -> None:
    deployed = bridged()
    idle(deployed, HOUR)
    deployed.control.remove("cats", uploads=False)
    deployed.run(60)
    deployed.tick()
    left = deployed.state.find("cats")
    assert left is not None and (left.bridge, objects(deployed)) == (None, set())
    deployed = bridged()
    idle(deployed, HOUR)
    deployed.bridged = False
    deployed.restart()
    deployed.tick()
    assert (deployed.record("cats").bridge, objects(deployed)) == (None, set())


def test_while_another_version_is_on_its_way_the_one_that_served_is_bridged() -> None:
    deployed = bridged()
    idle(deployed, HOUR)
    deployed.store.drop("cats.keras", "two")
    deployed.run(10)
    deployed.tick()
    record = deployed.record("cats")
    assert (record.desired, record.route, record.bridge and record.bridge.version) == (2, None, 1)
    deployed.run(120)
    deployed.tick()
    assert (deployed.serving("cats"), objects(deployed)) == (2, set())


@pytest.mark.parametrize("call", ["workloads.apply", "workloads.of", "workloads.delete_version", "documents.write"])
@pytest.mark.parametrize("fault", [Killed(), CloudRefused("kubernetes_500", "try later", "")], ids=["kill", "error"])
def test_a_look_cut_short_is_made_good_by_the_next(call: str, fault: BaseException) -> None:
    deployed = bridged()
    deployed.run(31 * 60)
    deployed.tick()
    for woken in (False, True):
        deployed.world.fail(call, fault)
        for _ in range(3):
            try:
                deployed.teardown.bridges.run(deployed.state.glances())
            except (Killed, CloudRefused):
                deployed.restart()
            deployed.run(30)
        deployed.world.faults.clear()
        assert (address(deployed) is None) == woken
        if not woken:
            deployed.request("cats")
            deployed.run(120)
    assert objects(deployed) == set()


@pytest.mark.parametrize("flavor", ["kubeflow", "kserve"])
def test_its_pod_takes_no_gpu_and_lies_on_the_system_pool(flavor: str) -> None:
    version = bridged().record("cats").version(1)
    templates = Templates(
        ServingSettings(flavor=flavor), {"agentpool": "gpu"}, "account", "group", 60, Settings().bridge_node_selector
    )  # fmt: skip
    manifests = {item["kind"]: item for item in templates.bridge("cats", version)}
    pod: dict[str, Any] = (
        manifests["Deployment"]["spec"]["template"]["spec"]
        if flavor == "kubeflow"
        else manifests["InferenceService"]["spec"]["predictor"]
    )
    (container,) = pod["containers"]
    assert pod["nodeSelector"] == {"kubernetes.azure.com/mode": "system"}
    assert [item["key"] for item in pod["tolerations"]] == ["CriticalAddonsOnly"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]
    assert container["image"] == ServingSettings().image
    assert 'name: "cats"\n    base_path: "/models/cats"' in manifests["ConfigMap"]["data"]["models.config"]
    assert manifests["Service"]["metadata"]["name"] == manifests["ConfigMap"]["metadata"]["name"] == BRIDGE
    assert [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume] == [BRIDGE]
    assert "/v1/models/cats/versions/1/metadata" in str(container["readinessProbe"])


def test_a_cluster_of_a_kubeconfig_may_know_no_system_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CLUSTER__KUBECONFIG", "/some/where")
    assert Settings().bridge_node_selector == {}
