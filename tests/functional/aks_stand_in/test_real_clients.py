"""Azure's and Kubernetes' own Python clients, signed in as a managed identity, against the running stand-in."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import TokenCredential
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.identity import DefaultAzureCredential
from azure.mgmt.containerservice import ContainerServiceClient
from kubernetes import client, dynamic

from localcloud.arm import AKS_SERVER_APPLICATION_ID
from tests.functional.aks_stand_in.stand import Stand, running, until


class LoopbackBearer(SansIOHTTPPolicy[Any, Any]):
    """azure-core's own policy refuses to send tokens over plain http, even to loopback."""

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def on_request(self, request: PipelineRequest[Any]) -> None:
        token = self._credential.get_token("https://management.azure.com/.default").token
        request.http_request.headers["Authorization"] = f"Bearer {token}"


def kubernetes_api(stand: Stand, credential: TokenCredential) -> Any:
    """A Kubernetes client as the deployer makes it: server from the user kubeconfig, token from Entra."""
    with ContainerServiceClient(
        credential,
        stand.ready["subscription_id"],
        base_url=stand.ready["arm_url"],
        authentication_policy=LoopbackBearer(credential),
    ) as arm:
        answer = arm.managed_clusters.list_cluster_user_credentials(
            stand.ready["resource_group"], stand.ready["cluster_name"], format="exec"
        )
    assert answer.kubeconfigs
    kubeconfig = json.loads(bytes(answer.kubeconfigs[0].value or b""))
    configuration = client.Configuration()
    configuration.host = kubeconfig["clusters"][0]["cluster"]["server"]
    token = credential.get_token(f"{AKS_SERVER_APPLICATION_ID}/.default").token
    configuration.api_key = {"authorization": f"Bearer {token}"}
    return client.ApiClient(configuration)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_shows_and_follows_what_runs(azurite: str, tmp_path: Path) -> None:
    with running(tmp_path, azurite) as stand:
        space = stand.namespace("work")
        space.deployment("web", "--say=hello")
        space.answer("web")

        def kubectl(*arguments: str) -> str:
            command = ["kubectl", "--server", stand.ready["kubectl_url"], "--namespace=work", *arguments]
            environment = {**os.environ, "HOME": str(tmp_path)}  # its cache, and nobody's kubeconfig
            environment.pop("KUBECONFIG", None)
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=30, check=True
            ).stdout

        listed = kubectl("get", "deployments,pods,nodes", "--all-namespaces")
        assert "deployment.apps/web" in listed
        assert "1/1" in listed
        assert listed.count("Ready ") >= 2
        pod = space.pods()[0]["metadata"]["name"]
        assert kubectl("logs", pod, "--tail=1") == "hello\n"
        described = kubectl("describe", "pod", pod)
        for part in ("nvidia.com/gpu:  1", "Started", "aks-gpu-", "Node-Selectors:              agentpool=gpu"):
            assert part in described
        kubectl("delete", "deployment", "web")
        until(lambda: not space.pods(), "the pod has gone")


DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "work"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "test/http:1", "args": ["--say=hello"]}]},
        },
    },
}


def test_what_the_deployer_does_works_with_the_unchanged_clients(
    azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, azurite) as stand:
        stand.namespace("work")
        monkeypatch.setenv("IDENTITY_ENDPOINT", stand.ready["identity_endpoint"])
        monkeypatch.setenv("IDENTITY_HEADER", stand.ready["identity_header"])
        with DefaultAzureCredential() as credential, kubernetes_api(stand, credential) as api:
            core = client.CoreV1Api(api)
            nodes = core.list_node(label_selector="agentpool=gpu").items
            assert [node.status.capacity["nvidia.com/gpu"] for node in nodes] == ["1"]
            dynamic_client = dynamic.DynamicClient(api)
            deployments = dynamic_client.resources.get(api_version="apps/v1", kind="Deployment")
            deployments.server_side_apply(DEPLOYMENT, field_manager="slipway", force_conflicts=True)

            def ready_pod() -> Any:
                pods = core.list_namespaced_pod("work", label_selector="app=web").items
                return next((pod for pod in pods if pod.status.container_statuses[0].ready), None)

            pod = until(ready_pod, "the pod is ready")
            name = pod.metadata.name
            assert until(lambda: core.read_namespaced_pod_log(name, "work"), "it has logged") == "hello\n"
            reasons = {event.reason for event in core.list_namespaced_event("work").items}
            assert {"Scheduled", "Pulled", "Created", "Started"} <= reasons
            scale = {"spec": {"replicas": 0}}
            client.AppsV1Api(api).patch_namespaced_deployment_scale("web", "work", scale)
            until(lambda: not core.list_namespaced_pod("work").items, "the pod has gone")
