"""Init containers run one after the other before the others; sidecars run beside them."""

from pathlib import Path
from typing import Any

import pytest

from tests.functional.aks_stand_in.stand import HttpError, Namespace, condition, fetch, until

SCRATCH: Any = {"volumes": [{"name": "s", "emptyDir": {}}]}
MOUNT: Any = {"volumeMounts": [{"name": "s", "mountPath": "/scratch"}]}


def init(name: str, script: str, **more: object) -> dict[str, object]:
    """An init container that runs a script."""
    return {"name": name, "image": "test/http:1", "command": ["sh", "-c", script], **MOUNT, **more}


def test_init_containers_run_in_order_before_the_others(space: Namespace) -> None:
    first = [init("one", "echo 1 >> /scratch/order; echo hello"), init("two", "echo 2 >> /scratch/order")]
    space.pod("web", "--show=/scratch/order", spec={**SCRATCH, "initContainers": first}, **MOUNT)
    until(lambda: space.status("web")["ready"], "it is ready")
    pod = space.get("pods", "web")
    assert until(lambda: fetch(f"http://{pod['status']['podIP']}:8080").decode(), "it answers") == "1\n2\n"
    shown = {each["name"]: each for each in pod["status"]["initContainerStatuses"]}
    assert [shown[name]["state"]["terminated"]["reason"] for name in ("one", "two")] == ["Completed", "Completed"]
    assert shown["one"]["ready"]
    assert condition(pod, "Initialized") == "True"
    assert space.log("web", "?container=one") == "hello\n"


def test_an_init_container_that_fails_is_run_again_until_it_succeeds(space: Namespace, tmp_path: Path) -> None:
    """The others wait meanwhile, and the pod is Pending."""
    allowed = tmp_path / "allowed"
    first = [init("gate", f"echo tried; test -e {allowed}")]
    space.pod("web", spec={**SCRATCH, "initContainers": first})
    until(lambda: space.first("web")["restartCount"] >= 2, "it was run again")
    until(lambda: space.first("web")["state"]["waiting"]["reason"] == "CrashLoopBackOff", "it waits for the next run")
    pod = space.get("pods", "web")
    assert pod["status"]["phase"] == "Pending"
    assert condition(pod, "Initialized") == "False"
    listed = {each["type"]: each for each in pod["status"]["conditions"]}
    assert listed["Initialized"]["reason"] == "ContainersNotInitialized"
    assert listed["Initialized"]["message"] == "containers with incomplete status: [gate]"
    assert space.status("web")["state"]["waiting"]["reason"] == "PodInitializing"
    with pytest.raises(HttpError, match="is waiting to start: PodInitializing"):
        space.log("web", "?container=main")
    allowed.touch()
    until(lambda: space.status("web")["ready"], "the other one runs")
    assert space.get("pods", "web")["status"]["phase"] == "Running"


def test_a_pod_that_is_not_restarted_fails_with_its_init_container(space: Namespace) -> None:
    first = [init("gate", "exit 7")]
    space.pod("once", spec={**SCRATCH, "initContainers": first, "restartPolicy": "Never"})
    until(lambda: space.get("pods", "once")["status"]["phase"] == "Failed", "the pod has failed")
    assert space.first("once")["state"]["terminated"]["exitCode"] == 7
    assert "Started" in space.events("once")
    assert "running" not in space.status("once")["state"]


def test_a_pod_can_be_deleted_while_an_init_container_runs(space: Namespace) -> None:
    space.pod("long", spec={**SCRATCH, "initContainers": [init("gate", "sleep 600")]})
    until(lambda: space.first("long")["state"]["running"], "the init container runs")
    space.delete_pod("long")
    until(lambda: space.gone("long"), "it has gone")


def test_a_sidecar_starts_before_the_others_and_ends_after_them(space: Namespace) -> None:
    """Its startup probe is waited for; a pod that is done does not wait for it."""
    probe = {"exec": {"command": ["test", "-e", "/scratch/up"]}, "periodSeconds": 1, "failureThreshold": 60}
    sidecar = init("beside", "sleep 1; touch /scratch/up; sleep 600", restartPolicy="Always", startupProbe=probe)
    spec = {**SCRATCH, "initContainers": [sidecar], "restartPolicy": "Never", "terminationGracePeriodSeconds": 5}
    space.pod("job", spec=spec, command=["sh", "-c", "test -e /scratch/up"], **MOUNT)
    until(lambda: space.get("pods", "job")["status"]["phase"] == "Succeeded", "the pod has succeeded")
    until(lambda: space.first("job")["state"]["terminated"], "the sidecar has ended")
