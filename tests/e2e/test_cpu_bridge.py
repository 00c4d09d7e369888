"""A replica on CPU answers while the GPUs wake, in a whole local cloud."""

from pathlib import Path
from typing import Any

from tests.e2e.cloud_user import StartCloud
from tests.e2e.light_cloud import LADDER, content, empty, light_pods, predict


async def test_a_bridge_answers_while_the_gpus_wake(start_cloud: StartCloud, tmp_path: Path) -> None:
    settings = {**LADDER, "SLIPWAY_BRIDGE__ENABLED": "true"}
    client = await start_cloud(settings, aks_arguments=light_pods(tmp_path))
    client.drop("half.zip", content(0))
    await client.serves("half", 1)
    await empty(client)

    def deployments() -> dict[str, Any]:
        return {item.metadata.name: item for item in client.apps.list_namespaced_deployment("slipway").items}

    async def bridge() -> dict[str, Any]:
        found = deployments().get("tfs-half--bridge-v1")
        return {"ready": found.status.ready_replicas if found else None}

    await client.until(bridge, lambda seen: seen["ready"] == 1, "a bridge")
    pods = client.core.list_namespaced_pod("slipway", label_selector="app=half--bridge").items
    nodes = {
        node.metadata.name: node.metadata.labels["kubernetes.azure.com/mode"] for node in client.core.list_node().items
    }
    assert [nodes[pod.spec.node_name] for pod in pods] == ["system"]
    by: list[str | None] = []

    async def asked() -> dict[str, Any]:
        answer = await predict(client, "half")
        by.append(answer.headers["x-slipway-served-by"] if answer.status == 200 else str(answer.status))
        return {"status": answer.status, "by": by[-1]}

    await client.until(asked, lambda seen: seen["by"] == "cpu-bridge", "an answer of the bridge")
    first = len(by)
    await client.until(asked, lambda seen: seen["status"] == 200 and seen["by"] is None, "an answer of the GPU")
    assert set(by[first:-1]) <= {"cpu-bridge"}  # no request failed from the first answer on

    async def gone() -> dict[str, Any]:
        await asked()  # so that it does not fall asleep again
        return {"deployments": sorted(deployments())}

    await client.until(gone, lambda seen: seen["deployments"] == ["tfs-half-v1"], "the bridge gone")
