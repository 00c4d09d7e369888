"""What the kubelet decides before it acts: images, users, memory, volumes, GPUs, times."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from localcloud.kubelet import NodeDescription, atomic_folder, devices, memory
from localcloud.kubelet.admission import check_user
from localcloud.kubelet.commands import CommandError
from localcloud.kubelet.container_state import ContainerRecord, Running, Terminated, Waiting, duration
from localcloud.kubelet.environment import Addresses, field, resource
from localcloud.kubelet.images import Image
from localcloud.kubelet.pod_status import phase
from localcloud.kubelet.pulls import Present, Pull, Refused, decide
from tests.unit.aks_stand_in.test_pod_status import NOW, RUNNING, condition, ended, reported_with_init

IMAGE = Image("test:*", ("run",))
ROOT = Image("test:*", ("run",), runs_as_root=True)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.3, "300ms"), (10, "10s"), (80, "1m20s"), (300, "5m0s"), (2.5, "2.5s")]
)
def test_durations_are_written_as_kubernetes_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("known", "policy", "present", "expected"),
    [
        (True, "IfNotPresent", False, Pull(IMAGE)),
        (True, "IfNotPresent", True, Present(IMAGE)),
        (True, "Always", True, Pull(IMAGE)),
        (True, "Never", True, Present(IMAGE)),
    ],
)
def test_an_image_is_pulled_as_its_policy_says(known: bool, policy: str, present: bool, expected: object) -> None:
    container = {"image": "test:1", "imagePullPolicy": policy}
    assert decide(container, IMAGE if known else None, present=present) == expected


@pytest.mark.parametrize(
    ("reference", "policy", "reason"),
    [
        ("test:1", "Never", "ErrImageNeverPull"),
        ("test:1", "IfNotPresent", "ErrImagePull"),
        ("Test Image", "Always", "InvalidImageName"),
        ("test:", "Always", "InvalidImageName"),
        ("registry.example:5000/a/b-c__d.e:v1.2@sha256:" + "0" * 64, "Always", "ErrImagePull"),
    ],
)
def test_an_image_that_cannot_be_had_is_refused_with_the_reason(reference: str, policy: str, reason: str) -> None:
    refused = decide({"image": reference, "imagePullPolicy": policy}, None, present=False)
    assert isinstance(refused, Refused)
    assert refused.reason == reason


def pod(**spec: Any) -> Any:
    labels = {"labels": {"app": "a", "b/c": "d"}}
    return {"metadata": {"name": "p", "namespace": "n", "uid": "u", **labels}, "spec": {"containers": [], **spec}}


@pytest.mark.parametrize(
    ("of_pod", "of_container", "image", "fault"),
    [
        ({}, {}, ROOT, None),
        ({"runAsNonRoot": True}, {}, IMAGE, None),
        ({"runAsNonRoot": True}, {}, ROOT, "will run as root"),
        ({"runAsNonRoot": True}, {"runAsUser": 1000}, ROOT, None),
        ({"runAsNonRoot": True}, {"runAsNonRoot": False}, ROOT, None),
        ({"runAsUser": 0}, {"runAsNonRoot": True}, IMAGE, "breaks non-root policy"),
    ],
)
def test_run_as_non_root_looks_at_the_user_and_the_image(
    of_pod: Any, of_container: Any, image: Image, fault: str | None
) -> None:
    container = {"name": "c", "securityContext": of_container}
    if fault is None:
        check_user(pod(securityContext=of_pod), container, image)
    else:
        with pytest.raises(CommandError, match=fault):
            check_user(pod(securityContext=of_pod), container, image)


def test_downward_fields_are_the_pods() -> None:
    addresses = Addresses("127.1.1.10", "127.1.1.2")
    paths = ("metadata.name", "status.podIP", "status.hostIP", "metadata.labels['b/c']", "metadata.labels['none']")
    assert [field(pod(), path, addresses) for path in paths] == ["p", "127.1.1.10", "127.1.1.2", "d", ""]
    assert field(pod(), "metadata.labels", addresses) == 'app="a"\nb/c="d"'
    with pytest.raises(CommandError, match=r"unsupported fieldPath: spec\.x"):
        field(pod(), "spec.x", addresses)


def test_resource_fields_are_rounded_up_in_their_divisors() -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "1100m", "memory": "1Gi"}}}
    assert resource(pod(), container, {"resource": "limits.cpu"}) == "2"
    assert resource(pod(), container, {"resource": "limits.cpu", "divisor": "1m"}) == "1100"
    assert resource(pod(), container, {"resource": "limits.memory", "divisor": "0"}) == str(2**30)
    with pytest.raises(CommandError, match=r"sets no requests\.cpu"):
        resource(pod(), container, {"resource": "requests.cpu"})


NODE = NodeDescription(
    name="n",
    labels={"accelerator": "nvidia"},
    taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
    capacity={},
    allocatable={},
    gpus=2,
    provider_id="",
    kubernetes_version="1.36.2",
)
TOLERANT = [{"key": "sku", "operator": "Exists"}]


def daemon_set(image: str, **spec: Any) -> Any:
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}], **spec}}}}


@pytest.mark.parametrize(
    ("image", "spec", "served"),
    [
        ("nvcr.io/nvidia/k8s-device-plugin:v0.18.0", {"tolerations": TOLERANT}, True),
        ("mcr.microsoft.com/oss/nvidia/k8s-device-plugin@sha256:0", {"tolerations": TOLERANT}, True),
        ("nvcr.io/nvidia/k8s-device-plugin:v0.18.0", {}, False),
        ("nvcr.io/nvidia/k8s-device-plugin:v1", {"tolerations": TOLERANT, "nodeSelector": {"accelerator": "x"}}, False),
        ("example/log-shipper:1", {"tolerations": TOLERANT}, False),
    ],
)
def test_a_device_plugin_serves_the_nodes_it_runs_on(image: str, spec: Any, served: bool) -> None:
    assert devices.served(NODE, [daemon_set(image, **spec)]) is served


def test_the_gpus_of_a_plugin_that_has_gone_cannot_be_had() -> None:
    gpu = "nvidia.com/gpu"
    assert devices.amounts(NODE, None) == {}
    assert devices.amounts(NODE, 0) == {"capacity": {gpu: "2"}, "allocatable": {gpu: "0"}}


def test_a_folder_changes_all_at_once(tmp_path: Path) -> None:
    """As in a ConfigMap's volume: the files are reached through one link that is turned."""
    folder = tmp_path / "v"
    assert atomic_folder.put(folder, {"a": b"1", "sub/b": b"2"})
    assert not atomic_folder.put(folder, {"a": b"1", "sub/b": b"2"})
    assert (folder / "sub" / "b").read_bytes() == b"2"
    before = (folder / "a").resolve()
    assert atomic_folder.put(folder, {"a": b"new"})
    assert (folder / "a").read_bytes() == b"new"
    assert not (folder / "sub").exists()
    assert not before.exists()


async def test_memory_is_that_of_all_processes_of_a_session() -> None:
    """A child's counts, mapped files do not."""
    eats = "import os, time; os.fork(); x = bytearray(os.urandom(1 << 20)) * 40; print(flush=True); time.sleep(60)"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", eats, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        assert child.stdout is not None
        for _ in range(2):
            await asyncio.wait_for(child.stdout.readline(), 30)
        await asyncio.wait_for(memory.exceeded(child.pid, 80 << 20, 0.01), 30)
        assert memory.used(child.pid) < 400 << 20
    finally:
        os.killpg(child.pid, 9)
        await child.wait()
    assert memory.used(child.pid) == 0


def record(name: str, state: Running | Terminated | Waiting, **more: Any) -> ContainerRecord:
    return ContainerRecord(name, "i", state, **more)


def test_a_pod_is_initialized_when_its_init_containers_have_ended_well_or_are_up_as_sidecars() -> None:
    main = record("main", Waiting("PodInitializing"))
    running = record("one", RUNNING, started=True)
    done, beside = record("one", ended(0)), record("beside", RUNNING, sidecar=True, started=True)
    incomplete = condition(reported_with_init([main], [running]), "Initialized")
    assert (incomplete["status"], incomplete["reason"]) == ("False", "ContainersNotInitialized")
    assert incomplete["message"] == "containers with incomplete status: [one]"
    document = reported_with_init([main], [done, beside])
    assert condition(document, "Initialized")["status"] == "True"
    assert [each["ready"] for each in document["initContainerStatuses"]] == [True, False]
    assert condition(document, "Ready")["message"] == "containers with unready status: [beside main]"


def test_only_a_failed_init_container_that_is_not_run_again_fails_the_pod() -> None:
    main = record("main", Waiting("PodInitializing"))
    failed = Terminated(1, "Error", "", NOW, NOW, "local://1")
    assert phase([main], "Never", [record("one", failed)]) == "Failed"
    assert phase([main], "Always", [record("one", failed)]) == "Pending"
    assert phase([record("main", ended(0))], "Never", [record("beside", failed, sidecar=True)]) == "Succeeded"
