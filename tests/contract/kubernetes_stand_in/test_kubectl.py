"""Everyday kubectl against the stand-in."""

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from localcloud.kubernetes import KubernetesApi
from tests.contract.kubernetes_stand_in.api_client import ApiClient, deployment

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed on this machine")


class Kubectl:
    """Runs kubectl with a home of its own."""

    def __init__(self, url: str, home: Path) -> None:
        self._url = url
        self._home = home

    async def __call__(self, *arguments: str) -> str:
        """Returns what it printed; fails where kubectl does."""
        process = await asyncio.create_subprocess_exec(
            "kubectl", "--server", self._url, *arguments, env={"HOME": str(self._home), "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, printed.decode()
        return printed.decode()


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
