"""Jobs of conversions, as the adapter and the template make them on the Kubernetes stand-in, and what is told of their ends."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from deployer.adapters.workloads import KubernetesWorkloads
from deployer.job_failures import JobFailure, told
from deployer.job_template import JobTemplate
from deployer.names import export_job
from deployer.ports import ClusterAccess, JobState
from deployer.settings import ExportSettings, ServingSettings, UploadSettings
from deployer.templates import Templates
from tests.contract.deployer.aks_process import AksProcess, until

SYSTEM = {"kubernetes.azure.com/mode": "system"}
TEMPLATES = Templates(ServingSettings(), {"agentpool": "gpu"}, "test399", "slipway", 60)
_NUMBERS = itertools.count(1)


@pytest.fixture
def workloads(aks: AksProcess) -> KubernetesWorkloads:
    def access() -> ClusterAccess:
        return ClusterAccess(aks.ready["kubernetes_url"], token=lambda: aks.ready["kubernetes_token"])

    return KubernetesWorkloads(access, gpu_nodes={})


@pytest.fixture
def job(workloads: KubernetesWorkloads) -> Iterator[str]:
    """The name of a Job of the test's own, gone afterwards."""
    name = export_job("cats", next(_NUMBERS))
    yield name
    workloads.delete_job(name)
    until(lambda: workloads.job(name) is None, "the Job is gone")


def manifests(
    job: str, upload: str = "cats", *, image: str = "test/exporter:1", nodes: dict[str, str] = SYSTEM
) -> list[dict[str, Any]]:
    render = JobTemplate(
        TEMPLATES, ExportSettings(job_image=image, job_cpu="100m", memory_mb=512), UploadSettings(), nodes,
        {"AzureWebJobsStorage": "Key=a$(b)c;"},
    )  # fmt: skip
    made = render("cats", upload, job)
    (container,) = made[-1]["spec"]["template"]["spec"]["containers"]
    for side in ("requests", "limits"):  # this machine is small
        container["resources"][side]["memory"] = "200Mi"
    return made


def ended(workloads: KubernetesWorkloads, job: str) -> JobState:
    def over() -> JobState | None:
        state = workloads.job(job)
        return state if state is not None and state.phase != "active" else None

    return until(over, f"{job} has ended")


def failure(workloads: KubernetesWorkloads, job: str) -> JobFailure:
    state = ended(workloads, job)
    assert state.phase == "failed"
    return told(state.failure, job)


def waits(workloads: KubernetesWorkloads, job: str, *, fatal: bool) -> JobFailure:
    """Why its pod does not run."""

    def kept() -> JobFailure | None:
        state = workloads.job(job)
        if state is None or state.failure is None or state.failure.fatal != fatal:
            return None
        assert state.phase == "active"
        return told(state.failure, job)

    return until(kept, f"something keeps {job}")


def test_a_job_has_the_storage_and_a_place_to_write_and_ends(workloads: KubernetesWorkloads, job: str) -> None:
    assert workloads.job(job) is None
    for _ in range(2):
        workloads.apply(manifests(job))
    assert ended(workloads, job) == JobState("succeeded")
    workloads.apply(manifests(job))
    assert ended(workloads, job) == JobState("succeeded")


def test_one_that_fails_is_told_in_its_last_words(workloads: KubernetesWorkloads, job: str) -> None:
    workloads.apply(manifests(job, "bad"))
    found = failure(workloads, job)
    assert (found.code, found.final) == ("job_failed", False)
    assert found.reason.endswith(f"(Error: converting bad as {job} | not_a_model: It is no model. | Save it again.).")
    assert f"logs job/{job}" in found.hint


def test_one_that_takes_more_memory_than_it_may_is_told_for_good(workloads: KubernetesWorkloads, job: str) -> None:
    workloads.apply(manifests(job, "hungry"))
    found = failure(workloads, job)
    assert (found.code, found.final) == ("out_of_memory", True)


def test_one_that_takes_too_long_is_told(workloads: KubernetesWorkloads, job: str) -> None:
    made = manifests(job, "slow")
    made[-1]["spec"]["activeDeadlineSeconds"] = 2
    made[-1]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    workloads.apply(made)
    found = failure(workloads, job)
    assert (found.code, found.final) == ("job_timed_out", False) and "longer than" in found.reason


def test_an_image_that_cannot_be_pulled_is_told(workloads: KubernetesWorkloads, job: str) -> None:
    workloads.apply(manifests(job, image="nowhere/exporter:0"))
    found = waits(workloads, job, fatal=True)
    assert found.code == "job_image" and "nowhere/exporter:0" in found.reason


def test_a_node_that_is_not_there_is_told(workloads: KubernetesWorkloads, job: str) -> None:
    workloads.apply(manifests(job, nodes={"agentpool": "cpu"}))
    assert waits(workloads, job, fatal=False).code == "job_unschedulable"


def test_a_job_that_runs_is_deleted_with_its_pod_and_with_its_model(workloads: KubernetesWorkloads, job: str) -> None:
    workloads.apply(manifests(job, "slow"))
    until(lambda: workloads.job(job) == JobState("active"), "the Job runs")
    workloads.delete_model("cats")
    assert workloads.job(job) is None
    workloads.delete_job(job)
