"""Everyday kubectl against the stand-in."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from localcloud.kubernetes import KubernetesApi
from tests.contract.kubernetes_stand_in.api_client import ApiClient, Object, deployment

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed on this machine")


class Kubectl:
    """Runs kubectl with a home of its own."""

    def __init__(self, url: str, home: Path) -> None:
        self._url = url
        self._home = home

    async def __call__(self, *arguments: str, given: object = None) -> str:
        """Returns what it printed; fails where kubectl does. ``given`` goes to its standard input, as JSON."""
        async with self.running(*arguments) as process:
            data = json.dumps(given).encode() if given is not None else None
            printed, _ = await asyncio.wait_for(process.communicate(data), 60)
        assert process.returncode == 0, printed.decode()
        return printed.decode()

    @asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Starts it, and ends it if it has not ended by itself."""
        process = await asyncio.create_subprocess_exec(
            "kubectl", "--server", self._url, *arguments, env={"HOME": str(self._home), "PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def line_with(process: asyncio.subprocess.Process, text: str) -> str:
    """Returns the next line with ``text`` in it that a running kubectl prints."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"it ended without {text!r}")


@pytest.fixture
def kubectl(api: KubernetesApi, tmp_path: Path) -> Kubectl:
    assert api.open_url is not None
    return Kubectl(api.open_url, tmp_path)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "tfs.json"
    path.write_text(json.dumps(deployment()))
    return path


async def test_apply_follow_scale_and_delete(client: ApiClient, kubectl: Kubectl, manifest: Path) -> None:
    await client.add_node("n", gpus=2)
    assert "deployment.apps/tfs created" in await kubectl("apply", "-f", str(manifest))
    assert "deployment.apps/tfs unchanged" in await kubectl("apply", "-f", str(manifest))
    found = await client.until(
        "/api/v1/namespaces/default/pods", lambda f: any("nodeName" in p["spec"] for p in f["items"])
    )
    following = asyncio.create_task(kubectl("rollout", "status", "deployment/tfs", "--timeout=20s"))
    await client.run_pod(found["items"][0])
    assert "successfully rolled out" in await following
    assert "condition met" in await kubectl("wait", "--for=condition=Available", "deployment/tfs", "--timeout=10s")
    assert "scaled" in await kubectl("scale", "deployment/tfs", "--replicas=0")
    await client.end_pod(found["items"][0])
    assert "deleted" in await kubectl("delete", "-f", str(manifest), "--timeout=10s")


async def test_get_and_describe_show_what_is_there(client: ApiClient, kubectl: Kubectl, manifest: Path) -> None:
    await client.add_node("n", gpus=0)
    await kubectl("apply", "-f", str(manifest))
    await client.until(
        "/api/v1/namespaces/default/events?fieldSelector=reason=FailedScheduling", lambda f: bool(f["items"])
    )
    listed = await kubectl("get", "deployments,pods,nodes,rs", "-A")
    assert "deployment.apps/tfs" in listed
    assert "0/1     Pending" in listed
    assert "node/n" in listed
    described = await kubectl("describe", "pods")
    assert "Insufficient nvidia.com/gpu" in described
    assert "ScalingReplicaSet" in await kubectl("describe", "deployment", "tfs")
    assert "No resources found" in await kubectl("get", "pods", "-n", "kube-public")


async def test_server_side_apply_takes_fields_and_tells_of_conflicts(
    client: ApiClient, kubectl: Kubectl, manifest: Path
) -> None:
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", str(manifest))
    changed = deployment(image="tensorflow/serving:2.21.0-gpu")
    await client.apply("/apis/apps/v1/namespaces/default/deployments/tfs", changed, "slipway", force=True)
    with pytest.raises(AssertionError, match='conflict with "slipway"'):
        await kubectl("apply", "--server-side", "-f", str(manifest))


PODS = "/api/v1/namespaces/default/pods"
VOLUME = {
    "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "models"},
    "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": "blob",
        "csi": {"driver": "blob.csi.azure.com", "volumeHandle": "models", "readOnly": True},
    },
}  # fmt: skip
CLAIM = {
    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"},
    "spec": {
        "accessModes": ["ReadOnlyMany"], "storageClassName": "blob", "volumeName": "models",
        "resources": {"requests": {"storage": "1Gi"}},
    },
}  # fmt: skip
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "tfs"},
    "spec": {"type": "LoadBalancer", "selector": {"app": "tfs"}, "ports": [{"port": 8501, "targetPort": "http"}]},
}  # fmt: skip


async def placed(client: ApiClient, count: int = 1) -> list[Object]:
    """Returns the pods once so many have a node."""
    found = await client.until(PODS, lambda f: sum("nodeName" in p["spec"] for p in f["items"]) == count)
    pods: list[Object] = found["items"]
    return pods


async def test_get_prints_every_form(client: ApiClient, kubectl: Kubectl) -> None:
    await client.add_node("n", gpus=2)
    await kubectl("apply", "-f", "-", given=deployment())
    (pod,) = await placed(client)
    name = pod["metadata"]["name"]
    assert "NOMINATED NODE" in await kubectl("get", "pods", "-o", "wide")
    assert f"name: {name}" in await kubectl("get", "pods", "-o", "yaml")
    assert json.loads(await kubectl("get", "pod", name, "-o", "json"))["metadata"]["name"] == name
    assert await kubectl("get", "pods", "-o", "name") == f"pod/{name}\n"
    assert await kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}") == "n"
    assert "No resources found" in await kubectl("get", "pods", "-l", "app=other")
    assert name in await kubectl("get", "pods", "-l", "app in (tfs)", "--field-selector", "spec.nodeName=n")
    for number in ("b", "a"):
        await kubectl("apply", "-f", "-", given={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": number}})
    listed = await kubectl("get", "configmaps", "--sort-by=.metadata.creationTimestamp", "-o", "name")
    assert {"configmap/a", "configmap/b"} < set(listed.split())
    pages = await kubectl("get", "configmaps", "-A", "--chunk-size=2", "--no-headers")
    assert len(pages.splitlines()) == len(json.loads(await kubectl("get", "configmaps", "-A", "-o", "json"))["items"])


async def test_get_follows_changes(client: ApiClient, kubectl: Kubectl) -> None:
    async with kubectl.running("get", "pods", "--watch", "--output-watch-events") as following:
        await kubectl("apply", "-f", "-", given=deployment())
        assert "Pending" in await line_with(following, "ADDED")
        await client.add_node("n")
        await placed(client)
        await line_with(following, "MODIFIED")
        await kubectl("delete", "deployment", "tfs")
        (pod,) = await client.pods()
        await client.end_pod(pod)
        await line_with(following, "DELETED")


async def test_describe_tells_of_each_kind(client: ApiClient, kubectl: Kubectl) -> None:
    await client.add_node("n")
    for body in (VOLUME, CLAIM, SERVICE, deployment()):
        await kubectl("apply", "--server-side", "-f", "-", given=body)
    (pod,) = await placed(client)
    await client.run_pod(pod)
    await client.until("/api/v1/persistentvolumes/models", lambda v: v["status"]["phase"] == "Bound")
    await client.until("/api/v1/namespaces/default/endpoints/tfs", lambda e: bool(e.get("subsets")))
    for words, told in (
        (("deployment", "tfs"), "NewReplicaSetAvailable"), (("pod", pod["metadata"]["name"]), "Successfully assigned"),
        (("node", "n"), "nvidia.com/gpu"), (("service", "tfs"), "127.77.1.1:8501"), (("pvc", "models"), "Bound"),
        (("pv", "models"), "default/models"),
    ):  # fmt: skip
        assert told in await kubectl("describe", *words), words


async def test_a_dry_run_on_the_server_changes_nothing(client: ApiClient, kubectl: Kubectl) -> None:
    assert "created (server dry run)" in await kubectl("apply", "--dry-run=server", "-f", "-", given=deployment())
    assert "No resources found" in await kubectl("get", "deployments")
    await kubectl("apply", "-f", "-", given=deployment(replicas=0))
    changed = await kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", given=deployment(replicas=3))
    assert json.loads(changed)["spec"]["replicas"] == 3
    assert json.loads(await kubectl("get", "deployment", "tfs", "-o", "json"))["spec"]["replicas"] == 0
    with pytest.raises(AssertionError, match="must be greater than or equal to 0"):
        await kubectl("apply", "--dry-run=server", "-f", "-", given=deployment(replicas=-1))


async def test_a_client_side_apply_takes_back_what_it_no_longer_names(client: ApiClient, kubectl: Kubectl) -> None:
    body = deployment(replicas=0)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    await kubectl("apply", "-f", "-", given=body)
    container["env"] = [{"name": "B", "value": "3"}]
    await kubectl("apply", "-f", "-", given=body)
    found = json.loads(await kubectl("get", "deployment", "tfs", "-o", "json"))
    assert found["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "B", "value": "3"}]


async def test_rollouts_are_undone_restarted_and_remembered(client: ApiClient, kubectl: Kubectl) -> None:
    await client.add_node("n", gpus=4)
    await kubectl("apply", "-f", "-", given=deployment())

    async def finish() -> None:
        async with kubectl.running("rollout", "status", "deployment/tfs", "--timeout=60s") as following:
            done = asyncio.create_task(line_with(following, "successfully rolled out"))
            while not done.done():
                for pod in await client.pods():
                    ending = "deletionTimestamp" in pod["metadata"]
                    if ending:
                        await client.end_pod(pod)
                    elif pod["status"]["phase"] == "Pending" and "nodeName" in pod["spec"]:
                        await client.run_pod(pod)
                await asyncio.sleep(0.05)
            await done

    await finish()
    await kubectl("set", "image", "deployment/tfs", "serving=tensorflow/serving:2.21.0-gpu")
    await finish()
    assert "rolled back" in await kubectl("rollout", "undo", "deployment/tfs")
    await finish()
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deployment", "tfs", "-o", image) == "tensorflow/serving:2.20.0-gpu"
    assert "restarted" in await kubectl("rollout", "restart", "deployment/tfs")
    await finish()
    history = await kubectl("rollout", "history", "deployment/tfs")
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["2", "3", "4"]
    assert "2.21.0-gpu" in await kubectl("rollout", "history", "deployment/tfs", "--revision=2")


async def test_logs_come_from_the_pods_kubelet(client: ApiClient, kubectl: Kubectl) -> None:
    async def log(request: web.Request) -> web.StreamResponse:
        if "follow" not in request.query:
            return web.Response(text=f"one\ntwo\n{request.query.get('tailLines', '')}")
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one\n")
        await asyncio.sleep(60)
        return response

    kubelet = web.Application()
    kubelet.router.add_get("/containerLogs/{namespace}/{pod}/{container}", log)
    runner = web.AppRunner(kubelet, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await client.add_node("n", port=runner.addresses[0][1])
        await kubectl("apply", "-f", "-", given=deployment())
        (pod,) = await placed(client)
        await client.run_pod(pod)
        assert "one\ntwo\n" in await kubectl("logs", pod["metadata"]["name"])
        assert "\n5" in await kubectl("logs", "deployment/tfs", "--tail=5")
        async with kubectl.running("logs", "-f", pod["metadata"]["name"]) as following:
            await line_with(following, "one")
            assert following.returncode is None
    finally:
        await runner.cleanup()


async def test_deletion_waits_and_cascades_as_asked(client: ApiClient, kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=deployment())
    await client.until(PODS, lambda f: len(f["items"]) == 1)
    assert "deleted" in await kubectl("delete", "deployment", "tfs", "--cascade=orphan", "--timeout=30s")
    assert "replicaset" in await kubectl("get", "replicasets", "-o", "name")
    await kubectl("apply", "-f", "-", given=deployment())
    assert "deleted" in await kubectl("delete", "deployment", "tfs", "--cascade=foreground", "--timeout=30s")
    assert "No resources found" in await kubectl("get", "replicasets,pods")


async def test_waiting_ends_with_a_field_and_with_deletion(client: ApiClient, kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", given=deployment(replicas=0))
    assert "condition met" in await kubectl(
        "wait", "--for=jsonpath={.spec.replicas}=0", "deployment/tfs", "--timeout=30s"
    )
    async with kubectl.running("wait", "--for=delete", "deployment/tfs", "--timeout=60s") as waiting:
        await kubectl("delete", "deployment", "tfs")
        assert await asyncio.wait_for(waiting.wait(), 60) == 0


async def test_what_is_not_served_is_refused_in_words(client: ApiClient, kubectl: Kubectl) -> None:
    for words, refusal in (
        (("get", "cronjobs"), "the server doesn't have a resource type"),
        (("top", "pods"), "Metrics API not available"),
        (("create", "namespace", "x"), "unknown format"),
        (("auth", "whoami"), "is not enabled"),
    ):
        with pytest.raises(AssertionError, match=refusal):
            await kubectl(*words)
