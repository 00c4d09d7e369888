"""What is applied is valid for Kubernetes, strictly, and keeps the policy: as templates, and rendered for every setting."""

import copy
import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deployer.options import Replicas, ServeOptions
from deployer.record import VersionRecord
from deployer.settings import ServingSettings
from deployer.templates import Templates
from tests.unit.templates.policy import KSERVE_FIELDS, breaches, pod_of

FOLDER = Path(__file__).parents[3] / "k8s_templates"
VERSIONS = ("1.32", kubernetes_validate.latest_version())
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ROWS = {"x": {"dtype": "float32", "shape": [None, 4]}}
SIGNATURES = {"serving_default": {"method": "tensorflow/serving/predict", "inputs": ROWS, "outputs": ROWS}}
TEMPLATES = [
    pytest.param(manifest, id=f"{path.name}-{manifest['kind']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]


def rendered(model: str = "cats", *, gpus: int = 1, most: int = 1, **settings: Any) -> list[dict[str, Any]]:
    """All objects of version 3 of a model, and its stable Service."""
    version = VersionRecord(
        version=3, identity="x", state="published", created=NOON, signatures=SIGNATURES, bytes=100 << 20,
        serve=ServeOptions(gpus=gpus, replicas=Replicas(min=1, max=most)),
    )  # fmt: skip
    serving = ServingSettings(mount_client_id="11111111-2222-3333-4444-555555555555", **settings)
    templates = Templates(serving, {"agentpool": "gpu"}, "account", "group", 60)
    return [*templates.version(model, version, 1), *templates.stable(model, 3)]


CHOICES = [
    dict(zip(("flavor", "gpus", "most", "service", "mount_identity"), choice, strict=True))
    for choice in itertools.product(
        ("kubeflow", "kserve"), (0, 1), (1, 4), ("internal", "cluster-ip"), ("managed", "workload")
    )
]


def check(manifest: dict[str, Any], version: str) -> None:
    """Holds an object against the schema of its kind; of an InferenceService, against those that its parts have."""
    if manifest["kind"] != "InferenceService":
        kubernetes_validate.validate(manifest, version, strict=True)
        return
    predictor = manifest["spec"]["predictor"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": manifest["metadata"], "spec": pod_of(manifest)}
    kubernetes_validate.validate(pod, version, strict=True)
    assert manifest["spec"].keys() == {"predictor"}
    assert {"minReplicas", "maxReplicas", "deploymentStrategy"} <= predictor.keys()
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {},
        "spec": {
            "strategy": predictor["deploymentStrategy"], "selector": {}, "template": {"spec": pod_of(manifest)},
        },
    }  # fmt: skip
    kubernetes_validate.validate(deployment, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", TEMPLATES)
def test_a_template_fits_the_schema_of_kubernetes(manifest: dict[str, Any], version: str) -> None:
    """Strictly: a field that the schema does not know is an error."""
    check(manifest, version)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_what_is_rendered_fits_the_schema_and_keeps_the_policy(choice: dict[str, Any]) -> None:
    """For models on GPU and CPU, with one replica and several, in either flavor, with either Service and identity."""
    for manifest in rendered(**choice):
        check(manifest, VERSIONS[-1])
        assert breaches(manifest) == []


@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_rendered_with_a_read_ahead_fits_the_schema_and_keeps_the_policy(version: str, gpus: int) -> None:
    for manifest in rendered(gpus=gpus, prefetch_image="example.azurecr.io/busybox:1.37.0"):
        check(manifest, version)
        assert breaches(manifest) == []


@pytest.mark.parametrize("manifest", [item for item in TEMPLATES if "kserve" not in str(item.id)])
def test_a_template_keeps_the_policy(manifest: dict[str, Any]) -> None:
    """kserve.yaml has no pod of its own: it is given that of version.yaml."""
    assert breaches(manifest) == []


def test_the_validator_refuses_what_is_wrong() -> None:
    """A misspelt field does not pass, nor one in the pod of an InferenceService."""
    deployment = find(rendered(), "Deployment")
    deployment["spec"]["replicaz"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        check(deployment, VERSIONS[0])
    service = find(rendered(flavor="kserve"), "InferenceService")
    service["spec"]["predictor"]["containerz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        check(service, VERSIONS[0])


SPOILT = {
    "may run as root": ("securityContext", {"seccompProfile": {"type": "RuntimeDefault"}}),
    "runs without seccomp": ("securityContext", {"runAsNonRoot": True, "runAsUser": 1000}),
    "is given a token of the Kubernetes API": ("automountServiceAccountToken", True),
    "has hostNetwork": ("hostNetwork", True),
    "mounts the host's /etc": ("volumes", [{"name": "etc", "hostPath": {"path": "/etc"}}]),
}
SPOILT_CONTAINERS = {
    "image tensorflow/serving:latest may change by itself": ("image", "tensorflow/serving:latest"),
    "image registry:5000/serving may change by itself": ("image", "registry:5000/serving"),
    "memory has no limits": ("resources", {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1"}}),
    "is privileged": (
        "securityContext",
        {
            "privileged": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    ),
    "may gain privileges": (
        "securityContext", {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
    ),
    "keeps capabilities": (
        "securityContext", {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True},
    ),
    "writes to its root file system": (
        "securityContext", {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["Deployment", "InferenceService"])
@pytest.mark.parametrize("breach", [*SPOILT, *SPOILT_CONTAINERS])
def test_the_policy_names_what_breaks_it(kind: str, breach: str) -> None:
    manifest = find(rendered(flavor="kserve" if kind == "InferenceService" else "kubeflow"), kind)
    pod = manifest["spec"]["predictor"] if kind == "InferenceService" else manifest["spec"]["template"]["spec"]
    if breach in SPOILT:
        field, value = SPOILT[breach]
        pod[field] = copy.deepcopy(value)
    else:
        field, value = SPOILT_CONTAINERS[breach]
        pod["containers"][0][field] = copy.deepcopy(value)
    assert breaches(manifest) == [breach]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_the_policy_misses_no_probe(probe: str) -> None:
    manifest = find(rendered(), "Deployment")
    del manifest["spec"]["template"]["spec"]["containers"][0][probe]
    assert breaches(manifest) == [f"has no {probe}"]


def test_a_service_open_to_the_internet_is_named() -> None:
    """It is so only where the setting says that the cluster's own load balancer is to be used."""
    assert breaches(find(rendered(service="load-balancer"), "Service")) == ["is open to the internet"]


def test_only_the_device_plugin_sees_the_host_and_only_one_folder() -> None:
    plugin = yaml.safe_load((FOLDER / "gpu-device-plugin.yaml").read_text())
    plugin["spec"]["template"]["spec"]["volumes"][0]["hostPath"]["path"] = "/var/lib/kubelet"
    assert breaches(plugin) == ["mounts the host's /var/lib/kubelet"]


def test_kserve_fields_are_no_fields_of_a_pod() -> None:
    """Else the policy and the schema would overlook them."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": []}}
    for field in KSERVE_FIELDS:
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(pod | {"spec": {"containers": [], field: 1}}, VERSIONS[0], strict=True)


def find(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(manifest for manifest in manifests if manifest["kind"] == kind)
