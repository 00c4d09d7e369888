"""The Job of a conversion, rendered for either way to the storage, is valid, keeps the policy, and says what it must."""

import base64
from typing import Any

import kubernetes_validate
import pytest

from deployer.errors import SlipwayError
from deployer.job_template import JobTemplate
from deployer.model_server import amount
from deployer.names import export_job
from deployer.settings import ClusterSettings, ExportSettings, ServingSettings, Settings, UploadSettings
from deployer.templates import Templates
from tests.unit.templates.policy import breaches
from tests.unit.templates.test_templates_are_valid import VERSIONS, find

CONNECTION = {"AzureWebJobsStorage": "AccountName=a;AccountKey=secret"}
IDENTITY = {"AzureWebJobsStorage__accountName": "a$(b)", "AzureWebJobsStorage__credential": "managedidentity"}
IMAGE = "example.azurecr.io/slipway-exporter:0.1.0"
JOB = "export-cats-0123456789"


def rendered(
    storage: dict[str, str] = CONNECTION, nodes: dict[str, str] | None = None, **settings: Any
) -> list[dict[str, Any]]:
    templates = Templates(ServingSettings(), {"agentpool": "gpu"}, "account", "group", 60)
    export = ExportSettings(**{"job_image": IMAGE, "job_client_id": "1-2", **settings})
    selector = Settings().job_node_selector if nodes is None else nodes
    return JobTemplate(templates, export, UploadSettings(attempts=3), selector, storage)("cats", "Cats v2", JOB)


def pod(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = find(manifests, "Job")["spec"]["template"]["spec"]
    return found


def environment(manifests: list[dict[str, Any]]) -> dict[str, str]:
    (container,) = pod(manifests)["containers"]
    return {item["name"]: item["value"] for item in container["env"]}


@pytest.mark.parametrize("storage", [CONNECTION, IDENTITY], ids=["connection", "identity"])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_rendered_fits_the_schema_and_keeps_the_policy(storage: dict[str, str], version: str) -> None:
    for manifest in rendered(storage):
        kubernetes_validate.validate(manifest, version, strict=True)
        assert breaches(manifest) == []


def test_a_connection_string_is_in_the_secret_and_nowhere_else() -> None:
    made = rendered()
    secret = find(made, "Secret")
    assert base64.b64decode(secret["data"]["AzureWebJobsStorage"]).decode() == CONNECTION["AzureWebJobsStorage"]
    assert "AccountKey" not in str([item for item in made if item is not secret])
    assert pod(made)["containers"][0]["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    assert "azure.workload.identity/use" not in str(made)


def test_by_identity_there_is_no_secret() -> None:
    made = rendered(IDENTITY)
    assert not [item for item in made if item["kind"] == "Secret"]
    assert environment(made)["AzureWebJobsStorage__accountName"] == "a$$(b)"
    template = find(made, "Job")["spec"]["template"]
    assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    account = next(item for item in made if item["metadata"]["name"] == template["spec"]["serviceAccountName"])
    assert account["metadata"]["annotations"] == {"azure.workload.identity/client-id": "1-2"}


@pytest.mark.parametrize(
    ("given", "memory", "deadline"),
    [({}, 8192, 480), ({"job_memory_mb": 30_000, "job_wall_seconds": 3600}, 30_000, 3600)],
)
def test_the_limits_are_the_functions_unless_the_jobs_own_are_given(
    given: dict[str, Any], memory: int, deadline: int
) -> None:
    made = rendered(**given)
    told = environment(made)
    assert (told["SLIPWAY_EXPORT__MEMORY_MB"], told["SLIPWAY_EXPORT__WALL_SECONDS"]) == (str(memory), str(deadline))
    assert told["SLIPWAY_UPLOADS__ATTEMPTS"] == "3"
    limits = pod(made)["containers"][0]["resources"]["limits"]
    assert amount(limits["memory"]) == (memory + 2048) * 2**20 and "nvidia.com/gpu" not in limits
    assert find(made, "Job")["spec"]["activeDeadlineSeconds"] == deadline + 1800


def test_its_process_reads_the_same_limits_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(rendered(job_memory_mb=1000, allowed_layers=("a.B",))).items():
        monkeypatch.setenv(name, value)
    inside = Settings()
    assert (inside.export.memory_mb, inside.export.allowed_layers, inside.uploads.attempts) == (1000, ("a.B",), 3)


def test_it_runs_on_the_system_pool_or_where_it_is_told_and_on_any_node_of_other_clusters() -> None:
    assert pod(rendered())["nodeSelector"] == {"kubernetes.azure.com/mode": "system"}
    assert pod(rendered(nodes={"agentpool": "cpu"}))["nodeSelector"] == {"agentpool": "cpu"}
    elsewhere = Settings(cluster=ClusterSettings(kubeconfig="config"))
    assert "nodeSelector" not in pod(rendered(nodes=dict(elsewhere.job_node_selector)))


def test_only_its_own_network_policy_selects_its_pod() -> None:
    made = rendered()
    labels = find(made, "Job")["spec"]["template"]["metadata"]["labels"]
    policies = [item for item in made if item["kind"] == "NetworkPolicy"]
    mine = [item for item in policies if item["spec"]["podSelector"]["matchLabels"].items() <= labels.items()]
    assert [item["metadata"]["name"] for item in mine] == ["slipway-exporter"] and len(policies) == 2


@pytest.mark.parametrize(
    ("storage", "settings", "code"),
    [(CONNECTION, {"job_image": ""}, "no_job_image"), (IDENTITY, {"job_client_id": ""}, "no_job_identity")],
)
def test_what_is_missing_is_told(storage: dict[str, str], settings: dict[str, Any], code: str) -> None:
    with pytest.raises(SlipwayError) as refused:
        rendered(storage, **settings)
    assert refused.value.code == code and refused.value.hint


def test_a_name_is_the_same_for_the_same_attempt_and_fits_a_label() -> None:
    longest = "x" * 40
    assert export_job(longest, "f", 1) == export_job(longest, "f", 1) != export_job(longest, "f", 2)
    assert len(export_job(longest, "f", 1)) <= 63
