"""A bare HTTP client of the API, and a node's part in it: what the tests of the stand-in share."""

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import aiohttp

TOKEN = "admin-token"
VIEWER_TOKEN = "viewer-token"
Object = dict[str, Any]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_PATIENCE_SECONDS = 30.0


class ApiClient:
    """Sends requests as one user."""

    def __init__(self, url: str, token: str | None = TOKEN) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = aiohttp.ClientSession(url, headers=headers, timeout=aiohttp.ClientTimeout(total=30))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._http.close()

    async def call(
        self, method: str, path: str, body: object = None, *, content: str = "application/json", **headers: str
    ) -> tuple[int, Any]:
        """Returns the status and the body, parsed where it is JSON."""
        data = None if body is None else json.dumps(body)
        sent = {"Content-Type": content, **headers} if data is not None else headers
        async with self._http.request(method, path, data=data, headers=sent) as answer:
            text = await answer.text()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(text) if is_json else text

    async def get(self, path: str) -> Object:
        """Returns the body of a GET, whatever its status."""
        _, body = await self.call("GET", path)
        found: Object = body
        return found

    async def apply(self, path: str, body: Object, manager: str = "test", *, force: bool = False) -> tuple[int, Object]:
        """Server-side apply."""
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        return await self.call("PATCH", path + query, body, content=APPLY)

    async def until(self, path: str, holds: Callable[[Object], bool]) -> Object:
        """Returns the body of a GET once ``holds`` does."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not holds(found := await self.get(path)):  # noqa: ASYNC110  (what is waited for is the server's)
                await asyncio.sleep(0.02)
        return found

    async def stream(self, path: str) -> list[Object]:
        """Returns the events of a watch that ends by itself."""
        async with self._http.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return [json.loads(line) async for line in answer.content]

    async def add_node(
        self, name: str, *, gpus: int = 1, port: int = 10250, taints: list[Object] | None = None
    ) -> None:
        """Registers a ready node, as a kubelet would."""
        spec = {"taints": taints} if taints else {}
        labels = {"agentpool": "gpu"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec}
        status, body = await self.call("POST", "/api/v1/nodes", node)
        assert status == 201, body
        capacity = {"cpu": "4", "memory": "8Gi", "pods": "10", "nvidia.com/gpu": str(gpus)}
        reported = {
            "capacity": capacity, "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}],
        }  # fmt: skip
        status, body = await self.call(
            "PATCH", f"/api/v1/nodes/{name}/status?fieldManager=kubelet", {"status": reported}, content=STRATEGIC
        )
        assert status == 200, body

    async def pods(self, selector: str = "") -> list[Object]:
        """Returns the pods of the default namespace."""
        found: list[Object] = (await self.get(f"/api/v1/namespaces/default/pods?labelSelector={selector}"))["items"]
        return found

    async def run_pod(self, pod: Object, *, ready: bool = True) -> None:
        """Reports a pod as running, as a kubelet would."""
        container = pod["spec"]["containers"][0]["name"]
        moment = "2026-01-01T00:00:00Z"
        reported = {
            "phase": "Running", "podIP": "127.77.1.1", "podIPs": [{"ip": "127.77.1.1"}], "startTime": moment,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": moment}],
            "containerStatuses": [
                {"name": container, "ready": ready, "restartCount": 0, "image": "x", "imageID": "x",
                 "state": {"running": {"startedAt": moment}}}
            ],
        }  # fmt: skip
        path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}/status?fieldManager=kubelet"
        status, body = await self.call("PATCH", path, {"status": reported}, content=STRATEGIC)
        assert status == 200, body

    async def end_pod(self, pod: Object) -> None:
        """Removes a pod that has stopped, as a kubelet would."""
        path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}"
        status, body = await self.call("DELETE", path, {"gracePeriodSeconds": 0})
        assert status == 200, body


def deployment(name: str = "tfs", *, image: str = "tensorflow/serving:2.20.0-gpu", **spec: Any) -> Object:
    """Returns a Deployment of one container that asks for one GPU."""
    container = {
        "name": "serving", "image": image, "ports": [{"name": "http", "containerPort": 8501}],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }  # fmt: skip
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }  # fmt: skip
