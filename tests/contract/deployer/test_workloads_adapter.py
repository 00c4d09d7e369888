"""The workloads port, as the adapter does it with the official Kubernetes client against the Kubernetes stand-in.

The pods are of an image that the stand-in runs as a small HTTP server; what is applied are the product's own templates.
"""

import itertools
import json
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from deployer.adapters.workloads import KubernetesWorkloads
from deployer.errors import CloudRefused, ClusterUnreachable
from deployer.options import ServeOptions
from deployer.ports import SIDECAR, ClusterAccess, PodFailure, Workload
from deployer.record import VersionRecord
from deployer.settings import ServingSettings
from deployer.templates import Templates
from tests.contract.deployer.aks_process import AksProcess, until

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
IMAGE = "test/serving:1"
_NUMBERS = itertools.count(1)
GPU_NODES = {"agentpool": "gpu"}
TEMPLATES = Templates(ServingSettings(image=IMAGE, gpu_image=IMAGE), GPU_NODES, "test399", "slipway", 60)


def manifests(
    model: str, number: int = 1, *, replicas: int = 1, templates: Templates = TEMPLATES, **serve: Any
) -> list[Any]:
    version = VersionRecord(
        version=number, identity="x", state="published", created=NOON, serve=ServeOptions(**{"gpus": 0, **serve})
    )  # fmt: skip
    rendered = templates.version(model, version, replicas)
    for item in rendered:
        if item["kind"] == "Deployment":  # without the five seconds that a pod goes on for the sake of endpoints
            del item["spec"]["template"]["spec"]["containers"][0]["lifecycle"]
    return rendered


@pytest.fixture
def workloads(aks: AksProcess) -> KubernetesWorkloads:
    def access() -> ClusterAccess:
        return ClusterAccess(aks.ready["kubernetes_url"], token=lambda: aks.ready["kubernetes_token"])

    return KubernetesWorkloads(access, gpu_nodes=GPU_NODES)


@pytest.fixture
def model(workloads: KubernetesWorkloads, request: pytest.FixtureRequest) -> Iterator[str]:
    """A model of the test's own, gone afterwards."""
    name = f"{getattr(request, 'param', 'm')}-{next(_NUMBERS)}"
    yield name
    workloads.delete_model(name)
    until(lambda: not workloads.of(name), "the model is gone")


KINDS = {
    "configmaps": "api/v1", "services": "api/v1", "deployments": "apis/apps/v1", "poddisruptionbudgets": "apis/policy/v1",
}  # fmt: skip


def versions(aks: AksProcess, model: str) -> dict[str, str]:
    """The generation, or else the resourceVersion, of each of the model's objects; read without the adapter."""
    found: dict[str, str] = {}
    server, token = aks.ready["kubernetes_url"].rstrip("/"), aks.ready["kubernetes_token"]
    for plural, api in KINDS.items():
        url = f"{server}/{api}/namespaces/slipway/{plural}?labelSelector=app%3D{model}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            for item in json.load(answer)["items"]:
                metadata = item["metadata"]
                found[f"{plural}/{metadata['name']}"] = str(metadata.get("generation") or metadata["resourceVersion"])
    return found


def pods(aks: AksProcess, model: str) -> list[Any]:
    """The model's pods; read without the adapter."""
    server = aks.ready["kubernetes_url"].rstrip("/")
    url = f"{server}/api/v1/namespaces/slipway/pods?labelSelector=app%3D{model}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {aks.ready['kubernetes_token']}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return list(json.load(answer)["items"])


def answers(url: str) -> bool:
    """Whether a request is answered; a Service may lag behind its pods for a moment, here as on a real node."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def the(workloads: KubernetesWorkloads, model: str) -> Workload:
    (found,) = workloads.of(model)
    return found


def complete(workloads: KubernetesWorkloads, model: str) -> Workload:
    return until(
        lambda: next((w for w in workloads.of(model) if w.complete and w.address), None), f"'{model}' is rolled out"
    )


def given_up(workloads: KubernetesWorkloads, model: str) -> PodFailure:
    """The failure for which waiting no longer helps."""

    def fatal() -> PodFailure | None:
        why = the(workloads, model).failure
        return why if why is not None and why.fatal else None

    return until(fatal, "waiting no longer helps")


def test_a_version_is_applied_becomes_complete_and_answers_at_its_address(
    workloads: KubernetesWorkloads, model: str
) -> None:
    assert workloads.of(model) == ()
    workloads.apply(manifests(model))
    work = complete(workloads, model)
    assert (work.version, work.replicas, work.pods, work.failure) == (1, 1, 1, None)
    assert work.options == ServeOptions(gpus=0).rendered
    until(lambda: answers(f"{work.address}/v1/models/{model}/versions/1/metadata"), "its Service leads to the pod")


def test_applying_the_same_again_changes_nothing(workloads: KubernetesWorkloads, model: str, aks: AksProcess) -> None:
    workloads.apply(manifests(model))
    complete(workloads, model)
    before = versions(aks, model)
    workloads.apply(manifests(model))
    assert versions(aks, model) == before
    assert before.keys() == {f"{plural}/tfs-{model}-v1" for plural in KINDS}


def test_versions_stand_beside_each_other(workloads: KubernetesWorkloads, model: str) -> None:
    workloads.apply(manifests(model, 1))
    workloads.apply(manifests(model, 2))
    until(lambda: all(work.complete for work in workloads.of(model)), "both are rolled out")
    found = {work.version: work for work in workloads.of(model)}
    assert found.keys() == {1, 2} and found[1].address != found[2].address
    workloads.delete_version(model, 1)
    assert {work.version for work in workloads.of(model)} == {2}
    workloads.delete_version(model, 1)


def test_a_version_is_scaled_to_0_and_back(workloads: KubernetesWorkloads, model: str) -> None:
    workloads.apply(manifests(model))
    complete(workloads, model)
    workloads.scale(model, 1, 0)
    until(lambda: the(workloads, model).pods == 0, "its pods are gone")
    assert (the(workloads, model).replicas, the(workloads, model).complete) == (0, False)
    workloads.apply(manifests(model))
    assert complete(workloads, model).replicas == 1


def test_more_pods_are_complete_only_together(workloads: KubernetesWorkloads, model: str) -> None:
    workloads.apply(manifests(model, replicas=2))
    assert not the(workloads, model).complete
    assert complete(workloads, model).pods == 2


def test_what_is_not_there_is_neither_scaled_nor_made(workloads: KubernetesWorkloads, model: str) -> None:
    workloads.scale(model, 9, 0)
    workloads.scale(model, 9, 1)
    workloads.delete_version(model, 9)
    assert workloads.of(model) == ()
    assert workloads.selected(model) is None


def test_the_stable_service_tells_the_version_that_it_selects(workloads: KubernetesWorkloads, model: str) -> None:
    workloads.apply(manifests(model))
    for number in (1, 2):
        workloads.apply(TEMPLATES.stable(model, number))
        assert workloads.selected(model) == number
    workloads.delete_model(model)
    assert workloads.selected(model) is None


def test_gpus_are_counted_by_what_pods_claim(workloads: KubernetesWorkloads, model: str) -> None:
    until(lambda: workloads.nodes().ready == 1, "the GPU node is ready")
    before = workloads.nodes()
    assert (before.ready, before.gpus, before.gpus_free) == (1, 1, 1)
    workloads.apply(manifests(model, gpus=1))
    complete(workloads, model)
    assert workloads.nodes().gpus_free == 0
    workloads.apply(manifests(model, 2, gpus=1))
    waiting = until(
        lambda: next((w for w in workloads.of(model) if w.version == 2 and w.failure), None), "it cannot be scheduled"
    )
    assert waiting.failure is not None
    assert (waiting.failure.reason, waiting.failure.fatal, waiting.complete) == ("Unschedulable", False, False)
    assert "nvidia.com/gpu" in waiting.failure.message
    workloads.scale(model, 1, 0)
    until(lambda: any(work.version == 2 and work.complete for work in workloads.of(model)), "the GPU was given over")


@pytest.mark.parametrize("model", ["broken"], indirect=True)
def test_a_server_that_does_not_stay_up_is_told_in_its_own_words(workloads: KubernetesWorkloads, model: str) -> None:
    workloads.apply(manifests(model))

    def failed() -> PodFailure | None:
        why = the(workloads, model).failure
        return why if why is not None and why.reason != "NotReady" else None

    first = until(failed, "it has failed once")
    assert "cannot parse saved_model.pb" in first.message
    fatal = given_up(workloads, model)
    assert "cannot parse saved_model.pb" in fatal.message
    assert not the(workloads, model).complete


def test_an_image_that_cannot_be_pulled_is_told(workloads: KubernetesWorkloads, model: str) -> None:
    nowhere = Templates(ServingSettings(image="nowhere/serving:0"), GPU_NODES, "test399", "slipway", 60)
    workloads.apply(manifests(model, templates=nowhere))
    why = given_up(workloads, model)
    assert why.reason == "ImagePullBackOff" and "nowhere/serving:0" in why.message


def with_prefetch(image: str) -> Templates:
    serving = ServingSettings(image=IMAGE, gpu_image=IMAGE, prefetch_image=image)
    return Templates(serving, GPU_NODES, "test399", "slipway", 60)


def test_with_a_sidecar_that_reads_ahead_a_version_serves(
    workloads: KubernetesWorkloads, model: str, aks: AksProcess
) -> None:
    """The folder of this version is missing, so its reading fails: nobody waits for it, and the pod is ready."""
    workloads.apply(manifests(model, templates=with_prefetch("busybox:1.37.0")))
    work = complete(workloads, model)
    assert (work.pods, work.failure) == (1, None)
    until(lambda: answers(f"{work.address}/v1/models/{model}/versions/1/metadata"), "its Service leads to the pod")
    (pod,) = pods(aks, model)
    (sidecar,) = pod["status"]["initContainerStatuses"]
    (server,) = pod["status"]["containerStatuses"]
    assert (sidecar["name"], sidecar["ready"], sidecar["restartCount"]) == ("prefetch", True, 0)
    assert sidecar["state"]["running"]["startedAt"] <= server["state"]["running"]["startedAt"]
    workloads.apply(manifests(model))
    until(lambda: all("initContainers" not in each["spec"] for each in pods(aks, model)), "turned off, it is gone")


def test_a_sidecar_whose_image_cannot_be_pulled_is_told_as_what_it_is(
    workloads: KubernetesWorkloads, model: str
) -> None:
    workloads.apply(manifests(model, templates=with_prefetch("nowhere/busybox:0")))
    why = given_up(workloads, model)
    assert why.reason == SIDECAR and "ImagePullBackOff" in why.message and "nowhere/busybox:0" in why.message


def test_fields_that_another_manager_took_are_taken_back(
    workloads: KubernetesWorkloads, model: str, aks: AksProcess
) -> None:
    """As with ``kubectl scale``: a conflict of managers is decided for what Slipway applies."""
    workloads.apply(manifests(model))
    url = f"{aks.ready['kubernetes_url'].rstrip('/')}/apis/apps/v1/namespaces/slipway/deployments/tfs-{model}-v1/scale"
    request = urllib.request.Request(  # noqa: S310
        f"{url}?fieldManager=kubectl", data=json.dumps({"spec": {"replicas": 3}}).encode(), method="PATCH",
        headers={
            "Authorization": f"Bearer {aks.ready['kubernetes_token']}", "Content-Type": "application/merge-patch+json"
        },
    )  # fmt: skip
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    assert the(workloads, model).replicas == 3
    workloads.apply(manifests(model))
    assert the(workloads, model).replicas == 1


def test_what_kubernetes_refuses_is_told_in_its_words(workloads: KubernetesWorkloads, model: str) -> None:
    wrong = manifests(model)
    next(item for item in wrong if item["kind"] == "Deployment")["spec"]["replicas"] = -1
    with pytest.raises(CloudRefused, match=f"did not apply Deployment 'tfs-{model}-v1'") as refused:
        workloads.apply(wrong)
    assert refused.value.code == "kubernetes_422"
    assert "spec.replicas" in refused.value.message


def test_a_server_that_does_not_answer_is_unreachable_and_asked_for_again(aks: AksProcess) -> None:
    """After a stop and start the API server may have another address: access is asked for anew."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{free.getsockname()[1]}"
    servers = iter([silent, aks.ready["kubernetes_url"]])
    workloads = KubernetesWorkloads(
        lambda: ClusterAccess(next(servers), token=lambda: aks.ready["kubernetes_token"]), gpu_nodes=GPU_NODES
    )
    with pytest.raises(ClusterUnreachable, match="list Nodes"):
        workloads.nodes()
    assert workloads.nodes().ready >= 0


def test_a_token_that_is_not_known_is_told_and_asked_for_again(aks: AksProcess) -> None:
    tokens = iter(["forged", aks.ready["kubernetes_token"]])

    def access() -> ClusterAccess:
        token = next(tokens)
        return ClusterAccess(aks.ready["kubernetes_url"], token=lambda: token)

    workloads = KubernetesWorkloads(access, gpu_nodes=GPU_NODES)
    with pytest.raises(CloudRefused, match="list Nodes") as refused:
        workloads.nodes()
    assert refused.value.code == "kubernetes_401" and "rights" in refused.value.hint
    assert workloads.nodes().ready >= 0


def test_a_cluster_without_kserve_is_told(aks: AksProcess) -> None:
    kserved = KubernetesWorkloads(
        lambda: ClusterAccess(aks.ready["kubernetes_url"], token=lambda: aks.ready["kubernetes_token"]),
        gpu_nodes=GPU_NODES, flavor="kserve",
    )  # fmt: skip
    with pytest.raises(CloudRefused, match="KServe is not installed") as refused:
        kserved.of("cats")
    assert refused.value.code == "no_kserve" and "SLIPWAY_SERVING__FLAVOR=kubeflow" in refused.value.hint


def test_nodes_are_found_by_what_they_offer_where_no_label_is_given(aks: AksProcess) -> None:
    """As with a kubeconfig: the system pool's nodes offer no GPU, so they do not count."""
    anywhere = KubernetesWorkloads(
        lambda: ClusterAccess(aks.ready["kubernetes_url"], token=lambda: aks.ready["kubernetes_token"]), gpu_nodes={}
    )
    until(lambda: anywhere.nodes().ready == 1, "the GPU node is ready")
    assert anywhere.nodes().gpus == 1


def test_a_cluster_ip_is_the_address_where_the_setting_says_so(workloads: KubernetesWorkloads, model: str) -> None:
    serving = ServingSettings(image=IMAGE, gpu_image=IMAGE, service="cluster-ip")
    workloads.apply(manifests(model, templates=Templates(serving, GPU_NODES, "test399", "slipway", 60)))
    work = complete(workloads, model)
    until(lambda: answers(f"{work.address}/v1/models/{model}/versions/1"), "its address leads to the pod")
