"""What is applied is valid Kubernetes: names, labels and selectors agree, on GPU and on CPU, for any version."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.options import Replicas, ServeOptions
from deployer.record import VersionRecord
from deployer.settings import ServingSettings
from deployer.templates import Templates

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
LONG = "a" * 40
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
ORDER = [
    "Namespace", "ServiceAccount", "NetworkPolicy", "PersistentVolume", "PersistentVolumeClaim", "ConfigMap", "Service",
    "Deployment", "PodDisruptionBudget",
]  # fmt: skip


def rendered(
    model: str = "cats", number: int = 7, replicas: int = 1, serving: ServingSettings | None = None, **serve: Any
) -> dict[str, dict[str, Any]]:
    templates = Templates(serving or ServingSettings(), {"agentpool": "gputesla"}, "myaccount", "mygroup", 60)
    version = VersionRecord(
        version=number, identity="x", state="published", created=NOON, serve=ServeOptions(**serve)
    )  # fmt: skip
    return {manifest["kind"]: manifest for manifest in templates.version(model, version, replicas)}


def container_of(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (container,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


@pytest.mark.parametrize(("model", "number"), [("cats", 1), ("cats", 7), (LONG, 123456), ("example", 2)])
def test_names_labels_and_selectors_agree(model: str, number: int) -> None:
    manifests = rendered(model, number)
    assert list(manifests) == ORDER
    labels = {"app": model, "version": f"v{number}"}
    for kind in ("ConfigMap", "Service", "Deployment", "PodDisruptionBudget"):
        metadata = manifests[kind]["metadata"]
        assert metadata["name"] == f"tfs-{model}-v{number}" and LABEL.fullmatch(metadata["name"])
        assert metadata["namespace"] == "slipway"
        assert metadata["labels"].items() >= labels.items()
    deployment = manifests["Deployment"]["spec"]
    assert deployment["selector"]["matchLabels"] == labels
    assert deployment["template"]["metadata"]["labels"].items() >= labels.items()
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    volumes = {volume["name"]: volume for volume in deployment["template"]["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == f"tfs-{model}-v{number}"
    assert volumes["servables"]["persistentVolumeClaim"]["claimName"] == "servables"
    assert {mount["name"] for mount in container_of(manifests)["volumeMounts"]} == volumes.keys()


@pytest.mark.parametrize(("model", "number"), [("cats", 1), ("example", 12)])
def test_nothing_of_the_example_is_left(model: str, number: int) -> None:
    """For a model that happens to be called "example" all must still be its own version's."""
    text = str(rendered(model, number))
    assert ("example" in text) == (model == "example")
    assert not re.search(r"tfs-example-v1\b|versions: 1 \}|versions/1/", text) or number == 1


def test_a_pod_is_told_to_serve_this_version_and_no_other() -> None:
    """The fields are those of TensorFlow Serving's ModelServerConfig."""
    config = rendered("cats", 7)["ConfigMap"]["data"]["models.config"]
    assert re.findall(r"[\w\"/.-]+", config) == [
        "model_config_list", "config", "name", '"cats"', "base_path", '"/models/cats"', "model_platform", '"tensorflow"',
        "model_version_policy", "specific", "versions", "7",
    ]  # fmt: skip
    assert config.count("{") == config.count("}")


def test_probes_ask_for_the_version_itself() -> None:
    container = container_of(rendered("cats", 7))
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/cats/versions/7/metadata", "port": "http"}
    assert " /v1/models/cats/versions/7 HTTP" in container["livenessProbe"]["exec"]["command"][-1]


def test_on_a_gpu_it_takes_gpus_of_the_pool_and_bears_its_taint() -> None:
    manifests = rendered(gpus=2)
    container, pod = container_of(manifests), manifests["Deployment"]["spec"]["template"]["spec"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert container["image"] == ServingSettings().gpu_image
    assert pod["nodeSelector"] == {"agentpool": "gputesla"}
    assert {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"} in pod["tolerations"]


def test_on_cpu_nothing_of_the_gpu_is_left() -> None:
    manifests = rendered(gpus=0)
    container, pod = container_of(manifests), manifests["Deployment"]["spec"]["template"]["spec"]
    assert container["image"] == ServingSettings().image
    assert "nvidia" not in str(manifests)
    assert "nodeSelector" not in pod and "tolerations" not in pod


@pytest.mark.parametrize(("cpu", "threads"), [("2", 2), ("1.5", 1), ("500m", 1), ("3500m", 3), ("8", 8)])
def test_thread_counts_follow_the_cpu_limit(cpu: str, threads: int) -> None:
    """Kubernetes writes a CPU as a number or in thousandths, "500m"."""
    container = container_of(rendered(serving=ServingSettings(cpu=cpu)))
    assert container["resources"]["limits"]["cpu"] == cpu
    assert f"--tensorflow_intra_op_parallelism={threads}" in container["args"]
    assert f"--tensorflow_inter_op_parallelism={threads}" in container["args"]


@pytest.mark.parametrize("cpu", ["0.5", "500m", "4"])
def test_requests_never_exceed_limits(cpu: str) -> None:
    resources = container_of(rendered(serving=ServingSettings(cpu=cpu, memory="1Gi")))["resources"]
    for name in ("cpu", "memory"):
        assert quantity(resources["requests"][name]) <= quantity(resources["limits"][name])


def test_replicas_are_as_asked_and_a_range_brings_an_autoscaler() -> None:
    assert rendered(replicas=3)["Deployment"]["spec"]["replicas"] == 3
    assert "HorizontalPodAutoscaler" not in rendered(replicas=3)


def test_the_autoscaler_ranges_as_the_options_say() -> None:
    templates = Templates(ServingSettings(), {"agentpool": "gpu"}, "account", "group", 60)
    serve = ServeOptions(replicas=Replicas(min=2, max=5))
    version = VersionRecord(version=7, identity="x", state="published", created=NOON, serve=serve)
    (scaler,) = (item for item in templates.version("cats", version, 2) if item["kind"] == "HorizontalPodAutoscaler")
    assert scaler["metadata"]["name"] == scaler["spec"]["scaleTargetRef"]["name"] == "tfs-cats-v7"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 5)


def test_the_volume_is_the_servable_container_of_the_account() -> None:
    manifests = rendered()
    csi = manifests["PersistentVolume"]["spec"]["csi"]
    assert (csi["driver"], csi["readOnly"]) == ("blob.csi.azure.com", True)
    attributes = csi["volumeAttributes"]
    assert (attributes["storageAccount"], attributes["resourceGroup"]) == ("myaccount", "mygroup")
    assert attributes["containerName"] == "servables"
    assert "AzureStorageIdentityClientID" not in attributes
    assert manifests["PersistentVolumeClaim"]["spec"]["volumeName"] == manifests["PersistentVolume"]["metadata"]["name"]
    with_identity = rendered(serving=ServingSettings(mount_client_id="0-1-2"))["PersistentVolume"]["spec"]["csi"]
    assert with_identity["volumeAttributes"]["AzureStorageIdentityClientID"] == "0-1-2"


def test_the_stable_service_selects_the_version_that_serves() -> None:
    (service,) = Templates(ServingSettings(), {"agentpool": "gpu"}, "account", "group", 60).stable("cats", 3)
    assert service["metadata"]["name"] == "tfs-cats"
    assert service["spec"]["selector"] == {"app": "cats", "version": "v3"}
    assert [port["port"] for port in service["spec"]["ports"]] == [8500, 8501]


def test_rendering_one_model_leaves_no_trace_in_the_next() -> None:
    before = rendered("cats", 1)
    rendered("dogs", 2, serving=ServingSettings(mount_client_id="0-1-2"), gpus=0)
    assert rendered("cats", 1) == before


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number."""
    for suffix, factor in (("m", 0.001), ("Mi", 2.0**20), ("Gi", 2.0**30)):
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)
