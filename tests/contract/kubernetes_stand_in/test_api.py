"""Tokens, errors, watches and logs of the API server, over plain HTTP."""

import asyncio
import base64
import json
import sys

import pytest
from aiohttp import web

from localcloud.kubernetes import KubernetesApi
from tests.contract.kubernetes_stand_in.api_client import APPLY, MERGE, VIEWER_TOKEN, ApiClient, deployment

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **labels: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"k": "v"}}


async def test_without_a_token_only_health_and_version_are_open(api: KubernetesApi) -> None:
    async with ApiClient(api.url, None) as nobody:
        assert (await nobody.call("GET", "/healthz"))[0] == 200
        assert (await nobody.call("GET", "/version"))[0] == 200
        status, body = await nobody.call("GET", "/api/v1/pods")
    assert (status, body["message"].split(":")[0]) == (403, "pods is forbidden")


async def test_an_unknown_token_is_refused(api: KubernetesApi) -> None:
    async with ApiClient(api.url, "nonsense") as stranger:
        assert (await stranger.call("GET", "/version"))[0] == 401


async def test_the_viewer_reads_but_neither_writes_nor_sees_secrets(api: KubernetesApi, client: ApiClient) -> None:
    async with ApiClient(api.url, VIEWER_TOKEN) as viewer:
        assert (await viewer.call("GET", "/api/v1/pods"))[0] == 200
        assert (await viewer.call("GET", "/api/v1/secrets"))[0] == 403
        assert (await viewer.call("POST", CONFIG_MAPS, config_map("c")))[0] == 403


async def test_the_open_listener_needs_no_token_but_refuses_browsers(api: KubernetesApi) -> None:
    assert api.open_url is not None
    async with ApiClient(api.open_url, None) as anyone:
        assert (await anyone.call("GET", "/api/v1/nodes"))[0] == 200
        assert (await anyone.call("GET", "/api/v1/nodes", Origin="http://example.com"))[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/apis/apps/v1/statefulsets", 404),
        ("GET", "/apis/nosuch.example.com/v1", 404),
        ("GET", "/nope", 404),
        ("GET", "/api/v1/namespaces/default/pods/nope", 404),
        ("POST", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("GET", "/api/v1/namespaces/default/pods/nope/exec", 404),
        ("POST", "/api/v1/namespaces/default/pods/nope/eviction", 404),
        ("POST", "/api/v1/namespaces/default/pods/nope/status", 405),
    ],
)  # fmt: skip
async def test_what_is_not_served_is_said_so(client: ApiClient, method: str, path: str, status: int) -> None:
    got, body = await client.call(method, path)
    assert got == status, body


async def test_an_apply_that_conflicts_names_field_and_owner(client: ApiClient) -> None:
    path = f"{CONFIG_MAPS}/c"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    assert (await client.apply(path, body, "first"))[0] == 201
    status, answer = await client.apply(path, {**body, "data": {"a": "2"}}, "second")
    assert status == 409
    assert answer["message"] == 'Apply failed with 1 conflict: conflict with "first": .data.a'
    status, answer = await client.apply(path, {**body, "data": {"a": "2"}}, "second", force=True)
    assert (status, answer["data"]) == (200, {"a": "2"})


async def test_an_apply_that_changes_nothing_keeps_the_resource_version(client: ApiClient) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/tfs"
    body = deployment(replicas=0)
    await client.apply(path, body)
    settled = await client.until(path, lambda d: d.get("status", {}).get("observedGeneration") == 1)
    _, again = await client.apply(path, body)
    assert again["metadata"]["resourceVersion"] == settled["metadata"]["resourceVersion"]
    assert again["metadata"]["generation"] == 1


async def test_a_watch_tells_what_enters_and_leaves_its_selection(client: ApiClient) -> None:
    start = (await client.get(CONFIG_MAPS))["metadata"]["resourceVersion"]
    watching = asyncio.create_task(
        client.stream(f"{CONFIG_MAPS}?watch=true&resourceVersion={start}&labelSelector=tier=a&timeoutSeconds=3")
    )
    await client.call("POST", CONFIG_MAPS, config_map("x", tier="a"))
    await client.call("PATCH", f"{CONFIG_MAPS}/x", {"metadata": {"labels": {"tier": "b"}}}, content=MERGE)
    await client.call("PATCH", f"{CONFIG_MAPS}/x", {"metadata": {"labels": {"tier": "a"}}}, content=MERGE)
    await client.call("DELETE", f"{CONFIG_MAPS}/x")
    events = await watching
    assert [event["type"] for event in events] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    assert all(event["object"]["kind"] == "ConfigMap" for event in events)


async def test_a_watch_from_too_old_a_version_ends_with_410(client: ApiClient) -> None:
    events = await client.stream(f"{CONFIG_MAPS}?watch=true&resourceVersion=1&timeoutSeconds=5")
    assert [(event["type"], event["object"]["code"]) for event in events] == [("ERROR", 410)]


async def test_initial_events_end_with_a_bookmark(client: ApiClient) -> None:
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    events = await client.stream(f"{CONFIG_MAPS}?{query}&timeoutSeconds=1")
    kinds = [event["type"] for event in events]
    assert kinds[: kinds.index("BOOKMARK")] == ["ADDED"]  # kube-root-ca.crt
    mark = events[kinds.index("BOOKMARK")]["object"]["metadata"]
    assert mark["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_pages_of_a_list_are_of_one_moment(client: ApiClient) -> None:
    for name in ("a", "b", "c"):
        await client.call("POST", CONFIG_MAPS, config_map(name))
    first = await client.get(f"{CONFIG_MAPS}?limit=2")
    await client.call("DELETE", f"{CONFIG_MAPS}/c")
    second = await client.get(f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
    names = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert names == ["a", "b", "c", "kube-root-ca.crt"]


async def test_secrets_take_text_and_give_base64(client: ApiClient) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "value"}}
    _, made = await client.call("POST", "/api/v1/namespaces/default/secrets", body)
    assert base64.b64decode(made["data"]["key"]) == b"value"
    assert "stringData" not in made


async def test_a_body_that_is_no_object_changes_nothing(client: ApiClient) -> None:
    before = await client.get(CONFIG_MAPS)
    bodies: list[object] = [[], "text", {"metadata": {"name": "Bad_Name"}}, {"metadata": {"name": 3}}, {}]
    for body in bodies:
        status, answer = await client.call("POST", CONFIG_MAPS, body)
        assert status in (400, 422), answer
    status, _ = await client.call("PATCH", f"{CONFIG_MAPS}/x?fieldManager=t", "no object", content=APPLY)
    assert status == 400
    after = await client.get(CONFIG_MAPS)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_logs_come_from_the_kubelet_of_the_pods_node(client: ApiClient) -> None:
    async def log(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.path}?{request.query_string}")

    application = web.Application()
    application.router.add_get("/containerLogs/{rest:.*}", log)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await client.add_node("n", port=runner.addresses[0][1])
    await client.apply("/apis/apps/v1/namespaces/default/deployments/tfs", deployment())
    path = "/api/v1/namespaces/default/pods"
    pod = (await client.until(path, lambda found: any("nodeName" in p["spec"] for p in found["items"])))["items"][0]
    name = pod["metadata"]["name"]
    status, text = await client.call("GET", f"{path}/{name}/log?tailLines=5&previous=true")
    assert (status, text) == (200, f"/containerLogs/default/{name}/serving?tailLines=5&previous=true")
    await runner.cleanup()
    status, body = await client.call("GET", f"{path}/{name}/log")
    assert status == 500
    assert "connection refused" in body["message"]


async def test_a_pod_without_a_node_has_no_log(client: ApiClient) -> None:
    await client.apply("/apis/apps/v1/namespaces/default/deployments/tfs", deployment())
    path = "/api/v1/namespaces/default/pods"
    pod = (await client.until(path, lambda found: bool(found["items"])))["items"][0]
    assert (await client.call("GET", f"{path}/{pod['metadata']['name']}/log"))[0] == 204


async def test_a_table_has_the_columns_that_kubectl_prints(client: ApiClient) -> None:
    await client.apply("/apis/apps/v1/namespaces/default/deployments/tfs", deployment())
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    _, table = await client.call("GET", "/apis/apps/v1/deployments", Accept=accept)
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert shown == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    assert table["rows"][0]["cells"][:2] == ["tfs", "0/1"]


async def test_what_was_answered_survives_a_kill(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("kept")
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom localcloud.kubernetes import KubernetesApi\n"
        "async def main():\n"
        "    api = await KubernetesApi.start(Path(sys.argv[1]), '127.0.0.1', 0, 'admin-token')\n"
        "    print(api.url, flush=True)\n    await asyncio.Event().wait()\nasyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(data), stdout=asyncio.subprocess.PIPE
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        async with ApiClient(url) as before:
            await before.until("/api/v1/namespaces/default", lambda found: "uid" in found.get("metadata", {}))
            _, made = await before.call("POST", CONFIG_MAPS, config_map("kept"))
    finally:
        process.kill()
        await process.wait()
    api = await KubernetesApi.start(data, "127.0.0.1", 0, "admin-token")
    try:
        async with ApiClient(api.url) as after:
            found = await after.get(f"{CONFIG_MAPS}/kept")
            _, later = await after.call("POST", CONFIG_MAPS, config_map("later"))
    finally:
        await api.stop()
    assert json.dumps(found, sort_keys=True) == json.dumps(made, sort_keys=True)
    assert int(later["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
