"""The official Python client, unpatched, against the stand-in."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException, NotFoundException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

from localcloud.kubernetes import KubernetesApi
from tests.contract.kubernetes_stand_in.api_client import TOKEN, ApiClient, deployment

T = TypeVar("T")


@pytest.fixture
def official(api: KubernetesApi, client: ApiClient) -> Iterator[Any]:
    configuration = kubernetes.client.Configuration()
    configuration.host = api.url
    configuration.api_key = {"authorization": f"Bearer {TOKEN}"}
    with kubernetes.client.ApiClient(configuration) as opened:
        yield opened


async def blocking(call: Callable[[], T]) -> T:
    """Runs a call of the blocking client while the server, in this very loop, answers it."""
    return await asyncio.to_thread(call)


async def test_typed_calls_create_patch_scale_and_delete(official: Any) -> None:
    apps = kubernetes.client.AppsV1Api(official)

    def use() -> tuple[int, int]:
        made = apps.create_namespaced_deployment("default", deployment(replicas=0))
        patched = apps.patch_namespaced_deployment("tfs", "default", {"spec": {"replicas": 1}})
        scaled = apps.patch_namespaced_deployment_scale("tfs", "default", {"spec": {"replicas": 0}})
        listed = apps.list_namespaced_deployment("default", label_selector="!nope").items
        apps.delete_namespaced_deployment("tfs", "default")
        with pytest.raises(NotFoundException):
            apps.read_namespaced_deployment("tfs", "default")
        assert made.metadata.generation == 1
        assert [item.metadata.name for item in listed] == ["tfs"]
        return patched.spec.replicas, scaled.spec.replicas or 0

    assert await blocking(use) == (1, 0)


async def test_dynamic_server_side_apply_and_its_conflict(official: Any) -> None:
    def use() -> str:
        dynamic = DynamicClient(official)
        resource = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
        applied = dynamic.server_side_apply(
            resource, deployment(replicas=0), namespace="default", field_manager="slipway"
        )
        assert applied.metadata.managedFields[0].manager == "slipway"
        with pytest.raises(ConflictError) as conflict:
            dynamic.server_side_apply(resource, deployment(replicas=3), namespace="default", field_manager="other")
        with pytest.raises(NotFoundError):
            dynamic.get(resource, name="nope", namespace="default")
        return str(conflict.value.body)

    assert ".spec.replicas" in await blocking(use)


async def test_a_watch_streams_until_stopped(official: Any) -> None:
    core = kubernetes.client.CoreV1Api(official)

    def use() -> list[tuple[str, str]]:
        start = core.list_namespaced_config_map("default").metadata.resource_version
        core.create_namespaced_config_map("default", {"metadata": {"name": "seen"}})
        core.delete_namespaced_config_map("seen", "default")
        watch = kubernetes.watch.Watch()
        stream = watch.stream(
            core.list_namespaced_config_map, "default", resource_version=start, timeout_seconds=5
        )  # fmt: skip
        seen = []
        for event in stream:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                watch.stop()
        return seen

    assert await blocking(use) == [("ADDED", "seen"), ("DELETED", "seen")]


async def test_an_access_review_tells_what_the_caller_may_do(official: Any) -> None:
    authorization = kubernetes.client.AuthorizationV1Api(official)
    attributes = {"namespace": "default", "verb": "patch", "group": "apps", "resource": "deployments"}

    def use() -> bool:
        review = authorization.create_self_subject_access_review({"spec": {"resourceAttributes": attributes}})
        return bool(review.status.allowed)

    assert await blocking(use)


async def test_a_watch_from_too_old_a_version_raises_410(official: Any) -> None:
    core = kubernetes.client.CoreV1Api(official)

    def use() -> int:
        watch = kubernetes.watch.Watch()
        with pytest.raises(ApiException) as raised:
            list(watch.stream(core.list_namespaced_config_map, "default", resource_version="1", timeout_seconds=5))
        return int(raised.value.status)

    assert await blocking(use) == 410


async def test_typed_lists_come_in_pages_and_typed_objects_are_read_back_whole(official: Any) -> None:
    core, batch = kubernetes.client.CoreV1Api(official), kubernetes.client.BatchV1Api(official)

    def use() -> list[str]:
        for name in ("a", "b", "c"):
            core.create_namespaced_config_map("default", {"metadata": {"name": name}, "data": {"k": name}})
        names: list[str] = []
        token = None
        while token is None or token:
            page = core.list_namespaced_config_map("default", limit=2, _continue=token or None)
            names += [item.metadata.name for item in page.items]
            token = page.metadata._continue or ""
        service = {"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
        assert core.create_namespaced_service("default", service).spec.type == "LoadBalancer"
        claim = {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}}
        body = {"metadata": {"name": "p"}, "spec": claim}
        assert core.create_namespaced_persistent_volume_claim("default", body).status.phase == "Pending"
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox:1.37"}]}
        job = batch.create_namespaced_job("default", {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod}}})
        assert job.spec.backoff_limit == 6
        for listed in (core.list_namespaced_event, core.list_namespaced_pod, core.list_namespaced_secret):
            listed("default")
        return names

    assert await blocking(use) == ["a", "b", "c", "kube-root-ca.crt"]


async def test_the_dynamic_client_lists_patches_watches_and_deletes(official: Any) -> None:
    def use() -> list[tuple[str, str]]:
        dynamic = DynamicClient(official)
        maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
        dynamic.create(maps, body={"metadata": {"name": "seen", "labels": {"tier": "a"}}}, namespace="default")
        patch = {"data": {"k": "v"}}
        dynamic.patch(maps, body=patch, name="seen", namespace="default", content_type="application/merge-patch+json")
        listed = dynamic.get(maps, namespace="default", label_selector="tier=a")
        assert [(item.metadata.name, item.data.k) for item in listed.items] == [("seen", "v")]
        seen = []
        for event in dynamic.watch(maps, namespace="default", label_selector="tier=a", timeout=30):
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                break
            dynamic.delete(maps, name="seen", namespace="default")
        return seen

    assert await blocking(use) == [("ADDED", "seen"), ("DELETED", "seen")]
