"""The controllers, seen from outside: what becomes of objects that a client applies."""

from typing import Any

from tests.contract.kubernetes_stand_in.api_client import MERGE, ApiClient, deployment

DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/tfs"
PODS = "/api/v1/namespaces/default/pods"


def rolled_out(found: dict[str, Any]) -> bool:
    status = found.get("status", {})
    counts = {status.get(field, 0) for field in ("updatedReplicas", "replicas", "availableReplicas")}
    return bool(
        status.get("observedGeneration") == found["metadata"]["generation"] and counts == {found["spec"]["replicas"]}
    )


async def test_a_rollout_on_one_gpu_with_surge_stays_unschedulable_and_says_why(client: ApiClient) -> None:
    await client.add_node("n", gpus=1)
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    await client.apply(DEPLOYMENT, deployment(strategy=rolling))
    old = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    await client.run_pod(old)
    await client.until(DEPLOYMENT, rolled_out)
    await client.apply(DEPLOYMENT, deployment(strategy=rolling, image="tensorflow/serving:2.21.0-gpu"))

    def refused(found: dict[str, Any]) -> bool:
        return any(
            c.get("reason") == "Unschedulable" for p in found["items"] for c in p["status"].get("conditions", [])
        )

    found = await client.until(PODS, refused)
    message = next(
        c["message"] for p in found["items"] for c in p["status"]["conditions"] if c.get("reason") == "Unschedulable"
    )
    assert message.startswith("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    events = await client.get("/api/v1/namespaces/default/events?fieldSelector=reason=FailedScheduling")
    assert [event["message"] for event in events["items"]] == [message]
    assert len(found["items"]) == 2  # the old pod serves on


async def test_recreate_waits_until_the_old_pod_is_gone(client: ApiClient) -> None:
    await client.add_node("n", gpus=1)
    await client.apply(DEPLOYMENT, deployment(strategy={"type": "Recreate"}))
    old = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    await client.run_pod(old)
    await client.until(DEPLOYMENT, rolled_out)
    changed = deployment(strategy={"type": "Recreate"}, image="tensorflow/serving:2.21.0-gpu")
    await client.apply(DEPLOYMENT, changed)
    await client.until(PODS, lambda f: "deletionTimestamp" in f["items"][0]["metadata"])
    await client.until(DEPLOYMENT, lambda d: d["status"].get("observedGeneration") == 2)
    assert len(await client.pods()) == 1
    await client.end_pod(old)
    new = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    assert new["metadata"]["name"] != old["metadata"]["name"]
    await client.run_pod(new)
    done = await client.until(DEPLOYMENT, rolled_out)
    assert done["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"


async def test_a_rollout_that_makes_no_progress_is_reported_with_available_still_true(client: ApiClient) -> None:
    await client.add_node("n", gpus=2)
    await client.apply(DEPLOYMENT, deployment(progressDeadlineSeconds=1))
    old = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    await client.run_pod(old)
    await client.until(DEPLOYMENT, rolled_out)
    await client.apply(DEPLOYMENT, deployment(progressDeadlineSeconds=1, image="tensorflow/serving:nope"))

    def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
        return {c["type"]: (c["status"], c["reason"]) for c in found["status"].get("conditions", [])}

    found = await client.until(
        DEPLOYMENT, lambda d: conditions(d).get("Progressing") == ("False", "ProgressDeadlineExceeded")
    )
    assert conditions(found)["Available"] == ("True", "MinimumReplicasAvailable")


async def test_pods_of_a_node_that_is_deleted_go_and_are_replaced(client: ApiClient) -> None:
    await client.add_node("n", gpus=1)
    await client.apply(DEPLOYMENT, deployment())
    pod = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    await client.call("DELETE", "/api/v1/nodes/n")
    found = await client.until(
        PODS, lambda f: bool(f["items"]) and f["items"][0]["metadata"]["name"] != pod["metadata"]["name"]
    )
    assert "nodeName" not in found["items"][0]["spec"]
    await client.add_node("m", gpus=1)
    found = await client.until(PODS, lambda f: "nodeName" in f["items"][0]["spec"])
    assert found["items"][0]["spec"]["nodeName"] == "m"


async def test_scaling_to_zero_ends_every_pod(client: ApiClient) -> None:
    await client.add_node("n", gpus=2)
    await client.apply(DEPLOYMENT, deployment(replicas=2))
    found = await client.until(PODS, lambda f: sum("nodeName" in p["spec"] for p in f["items"]) == 2)
    await client.call("PATCH", f"{DEPLOYMENT}/scale", {"spec": {"replicas": 0}}, content=MERGE)
    await client.until(PODS, lambda f: all("deletionTimestamp" in p["metadata"] for p in f["items"]))
    for pod in found["items"]:
        await client.end_pod(pod)
    await client.until(DEPLOYMENT, rolled_out)
    assert await client.pods() == []


async def test_background_deletion_takes_replica_sets_and_pods_along(client: ApiClient) -> None:
    await client.apply(DEPLOYMENT, deployment())
    await client.until(PODS, lambda f: bool(f["items"]))
    status, body = await client.call("DELETE", DEPLOYMENT, {"propagationPolicy": "Background"})
    assert (status, body["status"]) == (200, "Success")
    await client.until("/apis/apps/v1/namespaces/default/replicasets", lambda f: not f["items"])
    await client.until(PODS, lambda f: not f["items"])


async def test_foreground_deletion_keeps_the_owner_until_its_pods_are_gone(client: ApiClient) -> None:
    await client.add_node("n")
    await client.apply(DEPLOYMENT, deployment())
    pod = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    await client.call("DELETE", DEPLOYMENT, {"propagationPolicy": "Foreground"})
    await client.until(PODS, lambda f: "deletionTimestamp" in f["items"][0]["metadata"])
    assert (await client.get(DEPLOYMENT))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await client.end_pod(pod)
    await client.until(DEPLOYMENT, lambda d: d.get("reason") == "NotFound")


async def test_a_load_balancer_gets_the_allocated_address_and_the_ready_pods(client: ApiClient) -> None:
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "tfs"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "tfs"}, "ports": [{"port": 8501, "targetPort": "http"}]},
    }  # fmt: skip
    await client.add_node("n")
    await client.apply("/api/v1/namespaces/default/services/tfs", service)
    await client.apply(DEPLOYMENT, deployment())
    pod = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    await client.run_pod(pod)
    found = await client.until(
        "/api/v1/namespaces/default/services/tfs", lambda s: bool(s["status"]["loadBalancer"].get("ingress"))
    )
    assert found["status"]["loadBalancer"]["ingress"][0]["ip"] == found["spec"]["clusterIP"] == "127.77.0.1"
    endpoints = await client.until("/api/v1/namespaces/default/endpoints/tfs", lambda e: bool(e.get("subsets")))
    assert endpoints["subsets"][0]["addresses"][0]["ip"] == "127.77.1.1"
    assert endpoints["subsets"][0]["ports"] == [{"port": 8501, "protocol": "TCP"}]


async def test_a_namespace_goes_with_everything_in_it(client: ApiClient) -> None:
    await client.call("POST", "/api/v1/namespaces", {"metadata": {"name": "slipway"}})
    await client.call("POST", "/api/v1/namespaces/slipway/configmaps", {"metadata": {"name": "c"}})
    status, body = await client.call("DELETE", "/api/v1/namespaces/slipway")
    assert (status, body["status"]["phase"]) == (200, "Terminating")
    await client.until("/api/v1/namespaces/slipway", lambda n: n.get("reason") == "NotFound")
    assert (await client.get("/api/v1/namespaces/slipway/configmaps"))["items"] == []


async def test_a_job_runs_again_after_a_failure_and_completes(client: ApiClient) -> None:
    await client.add_node("n")
    container = {"name": "warm", "image": "busybox:1.37", "command": ["true"]}
    spec = {"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "warm"}, "spec": spec}
    path = "/apis/batch/v1/namespaces/default/jobs/warm"
    await client.apply(path, job)
    seen: set[str] = set()
    for phase in ("Failed", "Succeeded"):
        fresh = await client.until(PODS, lambda f: any(p["metadata"]["name"] not in seen for p in f["items"]))
        name = next(p["metadata"]["name"] for p in fresh["items"] if p["metadata"]["name"] not in seen)
        seen.add(name)
        await client.call("PATCH", f"{PODS}/{name}/status", {"status": {"phase": phase}}, content=MERGE)
    done = await client.until(path, lambda j: bool(j["status"].get("conditions")))
    assert done["status"]["conditions"][0]["type"] == "Complete"
    assert (done["status"]["succeeded"], done["status"]["failed"]) == (1, 1)


async def test_a_job_that_takes_too_long_is_ended_and_one_that_has_ended_is_not_kept_for_ever(
    client: ApiClient,
) -> None:
    await client.add_node("n")
    container = {"name": "slow", "image": "busybox:1.37", "command": ["sleep", "60"]}
    spec = {
        "backoffLimit": 3, "activeDeadlineSeconds": 5, "ttlSecondsAfterFinished": 2,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
    }  # fmt: skip
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "slow"}, "spec": spec}
    path = "/apis/batch/v1/namespaces/default/jobs/slow"
    await client.apply(path, job)
    pod = (await client.until(PODS, lambda f: any("nodeName" in p["spec"] for p in f["items"])))["items"][0]
    await client.until(PODS, lambda f: all("deletionTimestamp" in p["metadata"] for p in f["items"]))
    assert not (await client.get(path))["status"].get("conditions")  # not before its pod has ended
    await client.end_pod(pod)
    done = await client.until(path, lambda j: bool(j["status"].get("conditions")))
    (condition,) = done["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("Failed", "DeadlineExceeded")
    assert condition["message"] == "Job was active longer than specified deadline"
    await client.until(path, lambda j: j.get("reason") == "NotFound")
