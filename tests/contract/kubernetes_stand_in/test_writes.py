"""Patches, subresources, generations, causes and deletion, over plain HTTP: what a client may count on."""

import pytest

from localcloud.kubernetes import KubernetesApi
from tests.contract.kubernetes_stand_in.api_client import (
    MERGE,
    STRATEGIC,
    VIEWER_TOKEN,
    ApiClient,
    Object,
    deployment,
)

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/tfs"
JSON_PATCH = "application/json-patch+json"


async def test_generation_counts_changes_of_the_specification_only(client: ApiClient) -> None:
    await client.apply(DEPLOYMENT, deployment(replicas=0))
    await client.until(DEPLOYMENT, lambda d: d.get("status", {}).get("observedGeneration") == 1)
    _, labelled = await client.call("PATCH", DEPLOYMENT, {"metadata": {"labels": {"a": "b"}}}, content=MERGE)
    _, reported = await client.call("PATCH", f"{DEPLOYMENT}/status", {"status": {"replicas": 0}}, content=MERGE)
    _, annotated = await client.call("PATCH", DEPLOYMENT, {"metadata": {"annotations": {"a": "b"}}}, content=MERGE)
    _, paused = await client.call("PATCH", DEPLOYMENT, {"spec": {"paused": True}}, content=MERGE)
    generations = [body["metadata"]["generation"] for body in (labelled, reported, annotated, paused)]
    assert generations == [1, 1, 2, 3]  # annotations count, for a Deployment
    await client.until(DEPLOYMENT, lambda d: d["status"]["observedGeneration"] == 3)


async def test_the_status_subresource_writes_the_status_and_the_object_does_not(client: ApiClient) -> None:
    await client.add_node("n")
    path = "/api/v1/nodes/n"
    change = {"spec": {"unschedulable": True}, "status": {"phase": "Running"}}
    _, whole = await client.call("PATCH", path, change, content=MERGE)
    assert (whole["spec"]["unschedulable"], whole["status"].get("phase")) == (True, None)
    change = {"spec": {"unschedulable": False}, "status": {"phase": "Running"}}
    _, below = await client.call("PATCH", f"{path}/status", change, content=MERGE)
    assert (below["spec"]["unschedulable"], below["status"]["phase"]) == (True, "Running")


async def test_lists_are_merged_by_key_strategically_and_replaced_by_a_merge_patch(client: ApiClient) -> None:
    await client.apply(DEPLOYMENT, deployment(replicas=0))
    sidecar = {"name": "sidecar", "image": "busybox:1.37"}
    change = {"spec": {"template": {"spec": {"containers": [sidecar]}}}}

    def names(body: Object) -> list[str]:
        return [entry["name"] for entry in body["spec"]["template"]["spec"]["containers"]]

    _, merged = await client.call("PATCH", DEPLOYMENT, change, content=STRATEGIC)
    assert names(merged) == ["sidecar", "serving"]
    gone = {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "$patch": "delete"}]}}}}
    _, pruned = await client.call("PATCH", DEPLOYMENT, gone, content=STRATEGIC)
    assert names(pruned) == ["serving"]
    _, replaced = await client.call("PATCH", DEPLOYMENT, change, content=MERGE)
    assert names(replaced) == ["sidecar"]
    renamed = [{"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "other"}]
    _, patched = await client.call("PATCH", DEPLOYMENT, renamed, content=JSON_PATCH)
    assert names(patched) == ["other"]
    status, refused = await client.call("PATCH", DEPLOYMENT, {"a": "b"}, content="application/json")
    assert (status, refused["reason"]) == (415, "UnsupportedMediaType")


async def test_a_stale_write_is_a_conflict(client: ApiClient) -> None:
    body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "1"}}
    _, made = await client.call("POST", CONFIG_MAPS, body)
    _, changed = await client.call("PUT", f"{CONFIG_MAPS}/c", {**made, "data": {"k": "2"}})
    status, refused = await client.call("PUT", f"{CONFIG_MAPS}/c", {**made, "data": {"k": "3"}})
    assert (status, refused["reason"]) == (409, "Conflict")
    assert (await client.get(f"{CONFIG_MAPS}/c"))["data"] == changed["data"] == {"k": "2"}


async def test_every_fault_of_a_body_is_a_cause_with_its_field(client: ApiClient) -> None:
    wrong = deployment(replicas=-1)
    wrong["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    wrong["spec"]["template"]["spec"]["containers"][0]["image"] = ""
    status, answer = await client.apply(DEPLOYMENT, wrong)
    assert (status, answer["reason"]) == (422, "Invalid")
    causes = {cause["field"]: cause["reason"] for cause in answer["details"]["causes"]}
    assert causes == {
        "spec.replicas": "FieldValueInvalid",
        "spec.template.metadata.labels": "FieldValueInvalid",
        "spec.template.spec.containers[0].image": "FieldValueRequired",
    }


async def test_a_finalizer_holds_a_deleted_object_until_it_is_taken_away(client: ApiClient) -> None:
    metadata = {"name": "held", "finalizers": ["example.com/hold"]}
    await client.call("POST", CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    path = f"{CONFIG_MAPS}/held"
    status, held = await client.call("DELETE", path)
    assert (status, "deletionTimestamp" in held["metadata"]) == (200, True)
    added = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    assert (await client.call("PATCH", path, added, content=MERGE))[0] == 422
    assert (await client.call("PATCH", path, {"metadata": {"finalizers": None}}, content=MERGE))[0] == 200
    assert (await client.call("GET", path))[0] == 404


async def test_orphans_keep_living_without_their_owner(client: ApiClient) -> None:
    sets = "/apis/apps/v1/namespaces/default/replicasets"
    await client.apply(DEPLOYMENT, deployment())
    await client.until(sets, lambda f: len(f["items"]) == 1)
    await client.call("DELETE", DEPLOYMENT, {"propagationPolicy": "Orphan"})
    await client.until(DEPLOYMENT, lambda d: d.get("reason") == "NotFound")
    (left,) = (await client.get(sets))["items"]
    assert "ownerReferences" not in left["metadata"]
    await client.apply(DEPLOYMENT, deployment())  # and are adopted by one that selects them
    await client.until(sets, lambda f: "ownerReferences" in f["items"][0]["metadata"])
    assert len((await client.get(sets))["items"]) == 1


async def test_an_expired_continue_token_is_answered_with_a_fresh_one(client: ApiClient) -> None:
    for name in ("a", "b", "c"):
        await client.call("POST", CONFIG_MAPS, {"metadata": {"name": name}})
    expired = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIvYVx1MDAwMCJ9"  # after "a", of resourceVersion 1
    status, answer = await client.call("GET", f"{CONFIG_MAPS}?limit=1&continue={expired}")
    assert (status, answer["reason"]) == (410, "Expired")
    fresh = answer["metadata"]["continue"]
    status, page = await client.call("GET", f"{CONFIG_MAPS}?limit=1&continue={fresh}")
    assert [item["metadata"]["name"] for item in page["items"]] == ["b"]


async def test_a_watch_sends_bookmarks_when_asked_and_ends_on_time(client: ApiClient) -> None:
    start = (await client.get(CONFIG_MAPS))["metadata"]["resourceVersion"]
    query = f"watch=true&resourceVersion={start}&timeoutSeconds=1"
    assert await client.stream(f"{CONFIG_MAPS}?{query}") == []
    events = await client.stream(f"{CONFIG_MAPS}?{query}&allowWatchBookmarks=true")
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) >= int(start)


@pytest.mark.parametrize(
    ("method", "path", "verb", "what"),
    [
        ("POST", CONFIG_MAPS, "create", 'resource "configmaps" in API group "" in the namespace "default"'),
        ("DELETE", DEPLOYMENT, "delete", 'resource "deployments" in API group "apps" in the namespace "default"'),
        ("GET", "/api/v1/secrets", "list", 'resource "secrets" in API group "" at the cluster scope'),
        ("PATCH", f"{DEPLOYMENT}/scale", "patch", 'resource "deployments/scale" in API group "apps" in the namespace "default"'),
    ],
)  # fmt: skip
async def test_a_reader_is_told_what_it_may_not_do(
    api: KubernetesApi, client: ApiClient, method: str, path: str, verb: str, what: str
) -> None:
    async with ApiClient(api.url, VIEWER_TOKEN) as viewer:
        status, answer = await viewer.call(method, path, {} if method != "GET" else None)
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"].endswith(f'is forbidden: User "viewer" cannot {verb} {what}')


async def test_a_claim_is_bound_to_the_volume_that_names_it_and_released_with_it(client: ApiClient) -> None:
    volumes, claims = "/api/v1/persistentvolumes", "/api/v1/namespaces/default/persistentvolumeclaims"
    spec: Object = {
        "capacity": {"storage": "5Gi"}, "accessModes": ["ReadOnlyMany"], "storageClassName": "blob",
        "csi": {"driver": "blob.csi.azure.com", "volumeHandle": "models"},
    }  # fmt: skip
    for name, reference in (("a", {}), ("b", {"claimRef": {"namespace": "default", "name": "models"}})):
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {**spec, **reference},
        }
        assert (await client.apply(f"{volumes}/{name}", body))[0] == 201
    wanted = {
        "accessModes": ["ReadOnlyMany"], "storageClassName": "blob", "resources": {"requests": {"storage": "1Gi"}},
    }  # fmt: skip
    await client.call("POST", claims, {"metadata": {"name": "models"}, "spec": wanted})
    bound = await client.until(f"{claims}/models", lambda c: c["status"].get("phase") == "Bound")
    assert bound["spec"]["volumeName"] == "b"
    assert bound["status"]["capacity"] == {"storage": "5Gi"}
    assert (await client.get(f"{volumes}/a"))["status"]["phase"] == "Available"
    await client.call("DELETE", f"{claims}/models")
    await client.until(f"{volumes}/b", lambda v: v["status"]["phase"] == "Released")
