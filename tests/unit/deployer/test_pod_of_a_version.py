"""What a servable and the settings make of its pod: flags, files, memory, identity, Service; and KServe's form of it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.adapters import kserve
from deployer.model_server import amount
from deployer.options import Replicas, ServeOptions
from deployer.ports import PodFailure
from deployer.record import VersionRecord
from deployer.settings import ServingSettings
from deployer.templates import Templates

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
Manifests = dict[str, dict[str, Any]]


def signature(shape: list[int | None] | None, dtype: str = "float32") -> dict[str, Any]:
    tensors = {"x": {"dtype": dtype, "shape": shape}}
    return {"method": "tensorflow/serving/predict", "inputs": tensors, "outputs": tensors}


def rendered(
    *, signatures: dict[str, Any] | None = None, size: int = 0, gpus: int = 1, most: int = 1, replicas: int = 1,
    request_seconds: float = 60, nodes: dict[str, str] | None = None, **settings: Any,
) -> Manifests:  # fmt: skip
    version = VersionRecord(
        version=7, identity="x", state="published", created=NOON, bytes=size,
        signatures={"serving_default": signature([None, 4])} if signatures is None else signatures,
        serve=ServeOptions(gpus=gpus, replicas=Replicas(min=1, max=most)),
    )  # fmt: skip
    selector = {"agentpool": "gpu"} if nodes is None else nodes
    templates = Templates(ServingSettings(**settings), selector, "account", "group", request_seconds)
    return {manifest["kind"]: manifest for manifest in templates.version("cats", version, replicas)}


def pod_of(manifests: Manifests) -> dict[str, Any]:
    pod: dict[str, Any] = manifests["Deployment"]["spec"]["template"]["spec"]
    return pod


def flags(manifests: Manifests) -> dict[str, str]:
    (container,) = pod_of(manifests)["containers"]
    return dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])


def test_requests_are_batched_on_a_gpu_by_as_many_threads_as_cpus() -> None:
    manifests = rendered(cpu="4")
    assert flags(manifests)["enable_batching"] == "true"
    config = manifests["ConfigMap"]["data"]["batching.config"]
    assert flags(manifests)["batching_parameters_file"] == "/config/batching.config"
    assert "num_batch_threads { value: 4 }" in config
    sizes = [int(line.split()[1]) for line in config.splitlines() if line.startswith("allowed_batch_sizes")]
    assert sizes == sorted(sizes) and f"max_batch_size {{ value: {sizes[-1]} }}" in config


@pytest.mark.parametrize(
    ("case", "choice"),
    [
        ("on CPU", {"gpus": 0}),
        ("switched off", {"batching": "never"}),
        ("images, of which one may be broken", {"signatures": {"a": signature([None], "string")}}),
        ("a scalar, whatever the setting", {"signatures": {"a": signature([])}, "batching": "always"}),
        ("nothing known", {"signatures": {}}),
        ("fixed rows", {"signatures": {"a": signature([None]), "b": signature([8, 4])}}),
        ("a scalar", {"signatures": {"a": signature([])}}),
        ("unknown rank", {"signatures": {"a": signature(None)}}),
    ],
)
def test_what_cannot_be_batched_is_not(case: str, choice: dict[str, Any]) -> None:
    """TensorFlow Serving would refuse requests to a signature whose tensors it cannot join."""
    manifests = rendered(**choice)
    assert not {"enable_batching", "batching_parameters_file"} & flags(manifests).keys(), case
    assert "batching.config" not in manifests["ConfigMap"]["data"]


def test_images_are_batched_if_the_setting_says_so() -> None:
    manifests = rendered(signatures={"a": signature([None], "string")}, batching="always")
    assert flags(manifests)["enable_batching"] == "true"


def test_the_share_of_gpu_memory_is_that_of_the_settings_and_on_cpu_there_is_none() -> None:
    assert flags(rendered(gpu_memory_fraction=0.45))["per_process_gpu_memory_fraction"] == "0.45"
    assert "per_process_gpu_memory_fraction" not in flags(rendered(gpus=0))


def test_threads_and_time_follow_the_limits() -> None:
    """Its defaults follow the machine's CPUs, of which a pod has a few, and end a request after 30 s."""
    found = flags(rendered(cpu="2500m", request_seconds=90))
    assert (found["rest_api_num_threads"], found["rest_api_timeout_in_ms"]) == ("8", "90000")
    assert found["tensorflow_intra_op_parallelism"] == found["tensorflow_inter_op_parallelism"] == "2"


@pytest.mark.parametrize(
    ("size", "limit", "request_"), [(0, "4Gi", "2Gi"), (1 << 30, "4Gi", "3Gi"), (3 << 30, "7Gi", "7Gi")]
)
def test_memory_suffices_for_the_servable(size: int, limit: str, request_: str) -> None:
    """About twice its size while it is loaded; the setting is the least."""
    (container,) = pod_of(rendered(size=size, memory="4Gi"))["containers"]
    assert container["resources"]["limits"]["memory"] == limit
    assert container["resources"]["requests"]["memory"] == request_
    assert amount(request_) <= amount(limit)


def test_nodes_are_those_of_the_selector_or_any_that_offers_a_gpu() -> None:
    assert pod_of(rendered(nodes={"accelerator": "a100"}))["nodeSelector"] == {"accelerator": "a100"}
    anywhere = pod_of(rendered(nodes={}))
    assert "nodeSelector" not in anywhere and anywhere["tolerations"]


@pytest.mark.parametrize(
    ("service", "kind", "internal"),
    [("internal", "LoadBalancer", True), ("load-balancer", "LoadBalancer", False), ("cluster-ip", "ClusterIP", False)],
)
def test_the_service_is_of_the_kind_that_is_set(service: str, kind: str, internal: bool) -> None:
    found = rendered(service=service)["Service"]
    assert found["spec"]["type"] == kind
    annotations = found["metadata"].get("annotations", {})
    assert ("service.beta.kubernetes.io/azure-load-balancer-internal" in annotations) is internal


def test_a_managed_identity_mounts_unless_the_workloads_own_is_chosen() -> None:
    managed = rendered(mount_client_id="id")
    attributes = managed["PersistentVolume"]["spec"]["csi"]["volumeAttributes"]
    assert (attributes["AzureStorageAuthType"], attributes["AzureStorageIdentityClientID"]) == ("MSI", "id")
    assert "annotations" not in managed["ServiceAccount"]["metadata"]
    workload = rendered(mount_client_id="id", mount_identity="workload")
    attributes = workload["PersistentVolume"]["spec"]["csi"]["volumeAttributes"]
    assert (attributes["clientID"], attributes["mountWithWorkloadIdentityToken"]) == ("id", "true")
    assert not any(name.startswith("AzureStorage") for name in attributes)
    account = workload["ServiceAccount"]["metadata"]
    assert account["annotations"] == {"azure.workload.identity/client-id": "id"}
    assert pod_of(workload)["serviceAccountName"] == account["name"]


def test_kserve_has_the_same_pod_in_an_inference_service() -> None:
    plain, kserved = rendered(), rendered(flavor="kserve")
    assert "Deployment" not in kserved
    service = kserved["InferenceService"]
    predictor = service["spec"]["predictor"]
    expected = pod_of(plain)
    expected["containers"][0]["name"] = "kserve-container"
    assert predictor.items() >= expected.items()
    assert service["metadata"]["name"] == "tfs-cats-v7"
    labels = service["metadata"]["labels"]
    selector = kserved["Service"]["spec"]["selector"]
    assert labels.items() >= selector.items() and "app" not in selector
    assert kserved["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == selector
    annotations = service["metadata"]["annotations"]
    assert annotations["serving.kserve.io/deploymentMode"] == "RawDeployment"
    assert annotations["slipway/serve-options"] == ServeOptions().rendered


def test_kserve_has_exactly_the_replicas_that_are_asked_for_or_scales_in_their_range() -> None:
    fixed = rendered(flavor="kserve", replicas=3)["InferenceService"]
    assert fixed["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
    assert [fixed["spec"]["predictor"][name] for name in ("minReplicas", "maxReplicas")] == [3, 3]
    ranging = rendered(flavor="kserve", most=4)
    predictor = ranging["InferenceService"]["spec"]["predictor"]
    assert ranging["InferenceService"]["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "hpa"
    assert [predictor[name] for name in ("minReplicas", "maxReplicas")] == [1, 4]
    assert "scaleMetric" not in predictor  # KServe 0.16 would refuse it
    assert "HorizontalPodAutoscaler" not in ranging  # KServe makes it


def inference(*, replicas: int = 1, most: int = 1, ready: bool = True, **predictor_ready: str) -> dict[str, Any]:
    status = "True" if ready else "False"
    return {
        "metadata": {"labels": {"version": "v7"}, "annotations": {"slipway/serve-options": "new"}},
        "spec": {"predictor": {"minReplicas": replicas, "maxReplicas": most}},
        "status": {
            "conditions": [
                {"type": "PredictorReady", "status": status, **predictor_ready}, {"type": "Ready", "status": status},
            ]
        },
    }  # fmt: skip


def made(*, replicas: int = 1, options: str = "new", available: int | None = None) -> dict[str, Any]:
    ready = replicas if available is None else available
    return {
        "metadata": {"generation": 2, "annotations": {"slipway/serve-options": options}},
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": 2, "replicas": replicas, "updatedReplicas": replicas, "availableReplicas": ready,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("service", "deployment", "complete"),
    [
        (inference(), made(), True),
        (inference(), None, False),
        (inference(ready=False), made(), False),
        (inference(), made(available=0), False),
        (inference(), made(options="old"), False),  # KServe has not seen the newest yet
        (inference(replicas=2), made(replicas=1), False),
        (inference(replicas=0), made(replicas=0), False),
        (inference(most=4), made(replicas=3), True),
    ],
)
def test_an_inference_service_is_complete_when_kserve_and_its_deployment_are(
    service: dict[str, Any], deployment: dict[str, Any] | None, complete: bool
) -> None:
    assert kserve.workload(service, deployment, [], "http://10.0.0.1:8501").complete is complete


def test_what_kserve_refuses_is_told() -> None:
    service = inference(ready=False, reason="ReconcileFailed", message="no such runtime")
    found = kserve.workload(service, None, [], None)
    assert found.failure == PodFailure("ReconcileFailed", "no such runtime", fatal=False)
    assert (found.version, found.replicas, found.options, found.address) == (7, 1, "new", None)
