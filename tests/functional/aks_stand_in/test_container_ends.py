"""What makes a container be ended or not be started at all, and how its status, events and logs say so."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.functional.aks_stand_in.stand import REPOSITORY, HttpError, Namespace, condition, fetch, processes, until


def test_a_container_over_its_memory_limit_is_killed(space: Namespace) -> None:
    """Exit code 137, reason OOMKilled, no event: as a kernel does it."""
    space.pod("greedy", "--say=eating", "--eat=150", resources={"limits": {"memory": "100Mi"}})
    until(lambda: space.status("greedy")["lastState"]["terminated"], "it was killed")
    last = space.status("greedy")["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    assert space.log("greedy", "?previous=true") == "eating\n"
    assert "Killing" not in space.events("greedy")


def test_a_container_within_its_limits_shows_them(space: Namespace) -> None:
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}}
    space.pod("modest", "--eat=10", resources=resources)
    until(lambda: space.status("modest")["ready"], "it runs")
    assert space.status("modest")["resources"]["limits"] == resources["limits"]
    assert space.status("modest")["allocatedResources"] == resources["limits"]
    assert space.get("pods", "modest")["status"]["qosClass"] == "Guaranteed"


def test_a_server_that_hangs_fails_its_probes_though_its_port_is_open(space: Namespace, tmp_path: Path) -> None:
    hang = tmp_path / "hang"
    http = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
    tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 60}
    space.pod("stuck", f"--hang-while={hang}", livenessProbe=http, readinessProbe=tcp, startupProbe=tcp)
    until(lambda: space.status("stuck")["ready"], "it is ready")
    hang.touch()
    address = space.get("pods", "stuck")["status"]["podIP"]
    deadline = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    expected = f'Liveness probe failed: Get "http://{address}:8080/": {deadline}'
    until(lambda: expected in _messages(space, "stuck", "Unhealthy"), "the probe waits in vain")
    until(lambda: space.status("stuck")["restartCount"] >= 1, "it was restarted")
    assert "failed liveness probe, will be restarted" in space.events("stuck")["Killing"]
    hang.unlink()


def _messages(space: Namespace, pod: str, reason: str) -> list[str]:
    listed = space.stand.api("GET", f"/api/v1/namespaces/{space.name}/events")["items"]
    return [e["message"] for e in listed if e["involvedObject"]["name"] == pod and e["reason"] == reason]


def test_probes_say_what_they_met(space: Namespace) -> None:
    nobody = {"periodSeconds": 1, "failureThreshold": 100}
    space.pod("http", readinessProbe={"httpGet": {"path": "/x", "port": 9}, **nobody})
    space.pod("tcp", readinessProbe={"tcpSocket": {"port": 9}, **nobody})
    space.pod("slow", readinessProbe={"exec": {"command": ["sleep", "30"]}, **nobody})
    names = ("http", "tcp", "slow")
    at = {name: until(lambda: space.get("pods", name)["status"]["podIP"], f"{name} is there") for name in names}  # noqa: B023
    refused = "connect: connection refused"
    expected = {
        "http": f'Get "http://{at["http"]}:9/x": dial tcp {at["http"]}:9: {refused}',
        "tcp": f"dial tcp {at['tcp']}:9: {refused}",
        "slow": 'command timed out: "sleep 30" timed out after 1s',
    }
    for name, message in expected.items():
        said = f"Readiness probe failed: {message}"
        until(lambda: said in _messages(space, name, "Unhealthy"), f"the probe of {name} says so")  # noqa: B023


def test_a_probe_that_cannot_be_made_counts_neither_way(space: Namespace) -> None:
    """Its program is not in the image: the container is not restarted for that."""
    probe = {"exec": {"command": ["grpc_health_probe"]}, "periodSeconds": 1, "failureThreshold": 1}
    space.pod("odd", livenessProbe=probe)

    def asked_twice() -> bool:
        listed = space.stand.api("GET", f"/api/v1/namespaces/{space.name}/events")["items"]
        return any(each["reason"] == "Unhealthy" and each["count"] >= 2 for each in listed)

    until(asked_twice, "it was asked twice")
    assert "Liveness probe errored and resulted in unknown state" in space.events("odd")["Unhealthy"]
    assert space.status("odd")["restartCount"] == 0
    assert space.status("odd")["ready"]


def test_readiness_is_asked_until_the_end(space: Namespace) -> None:
    """A pod that drains answers still, and says that it is ready."""
    hook = {"preStop": {"sleep": {"seconds": 60}}}
    ready = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    space.pod("drains", readinessProbe=ready, lifecycle=hook, spec={"terminationGracePeriodSeconds": 90})
    until(lambda: space.status("drains")["ready"], "it is ready")
    space.delete_pod("drains")
    until(lambda: "Stopping container main" in space.events("drains")["Killing"], "it is being ended")
    pod = space.get("pods", "drains")
    assert "deletionTimestamp" in pod["metadata"]
    assert condition(pod, "Ready") == "True"
    assert fetch(f"http://{pod['status']['podIP']}:8080").decode() == "drains"
    space.delete_pod("drains", kind="DeleteOptions", apiVersion="v1", gracePeriodSeconds=0)
    until(lambda: space.gone("drains"), "it has gone")


def test_a_pod_that_is_being_ended_can_be_deleted_by_force(space: Namespace) -> None:
    mark = f"--say=hurry-{os.getpid()}"
    space.pod("slow", mark, "--ignore-term", spec={"terminationGracePeriodSeconds": 600})
    until(lambda: space.log("slow"), "it runs")
    space.delete_pod("slow")
    until(lambda: "asked to end" in space.log("slow"), "it ignores the signal")
    space.delete_pod("slow", kind="DeleteOptions", apiVersion="v1", gracePeriodSeconds=0)
    until(lambda: not processes(mark), "its process has ended")


def test_a_container_killed_from_outside_says_by_which_signal(space: Namespace) -> None:
    mark = f"--say=outside-{os.getpid()}"
    space.pod("hit", mark, spec={"restartPolicy": "Never"})
    until(lambda: space.log("hit"), "it runs")
    os.kill(processes(mark)[0], signal.SIGKILL)
    until(lambda: space.get("pods", "hit")["status"]["phase"] == "Failed", "the pod has failed")
    ended = space.status("hit")["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")


@pytest.mark.parametrize(
    ("image", "security", "message"),
    [
        ("test/root:1", {"runAsNonRoot": True}, "container has runAsNonRoot and image will run as root"),
        ("test/http:1", {"runAsNonRoot": True, "runAsUser": 0}, "container's runAsUser breaks non-root policy"),
    ],
)
def test_a_container_that_would_be_root_against_its_policy_is_not_made(
    space: Namespace, image: str, security: dict[str, object], message: str
) -> None:
    space.pod("held", image=image, spec={"securityContext": security})
    until(
        lambda: space.status("held")["state"]["waiting"]["reason"] == "CreateContainerConfigError", "the state says so"
    )
    assert message in space.status("held")["state"]["waiting"]["message"]


def test_a_user_of_its_own_satisfies_the_policy(space: Namespace) -> None:
    space.pod("fine", image="test/root:1", securityContext={"runAsNonRoot": True, "runAsUser": 1000})
    until(lambda: space.status("fine")["ready"], "it runs")


@pytest.mark.parametrize(
    ("image", "policy", "reason", "message"),
    [
        ("nobody/knows:1", "Never", "ErrImageNeverPull", "is not present with pull policy of Never"),
        ("Not An Image", "IfNotPresent", "InvalidImageName", "invalid reference format"),
    ],
)
def test_an_image_that_is_not_even_tried_is_said_on_the_container(
    space: Namespace, image: str, policy: str, reason: str, message: str
) -> None:
    space.pod("held", image=image, imagePullPolicy=policy)
    until(lambda: space.status("held")["state"]["waiting"]["reason"] == reason, "the state says so")
    assert message in space.status("held")["state"]["waiting"]["message"]


def test_the_log_of_a_container_that_waits_is_refused_with_the_reason(space: Namespace) -> None:
    space.pod("lost", image="nobody/knows:1")
    until(lambda: space.status("lost")["state"]["waiting"]["reason"] == "ImagePullBackOff", "it cannot be pulled")
    with pytest.raises(HttpError, match="waiting to start: trying and failing to pull image"):
        space.log("lost")


def test_logs_have_times_and_a_beginning(space: Namespace) -> None:
    space.pod("talks", "--say=one|two")
    until(lambda: space.log("talks") == "one\ntwo\n", "all is logged")
    first = space.log("talks", "?timestamps=true&limitBytes=1000").splitlines()[0]
    time, _, text = first.partition(" ")
    assert text == "one"
    assert space.log("talks", f"?sinceTime={time}") == "one\ntwo\n"
    assert space.log("talks", "?sinceSeconds=3600") == "one\ntwo\n"
    assert space.log("talks", "?sinceTime=2999-01-01T00:00:00Z") == ""


def test_a_failed_poststart_hook_has_the_container_killed(space: Namespace) -> None:
    space.pod("hooked", lifecycle={"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 3"]}}})
    until(lambda: space.status("hooked")["restartCount"] >= 1, "it was restarted")
    assert "PostStartHook failed" in space.events("hooked")["FailedPostStartHook"]


def test_the_templates_liveness_probe_finds_a_dead_mount_and_a_server_that_answers_nobody(
    space: Namespace, tmp_path: Path
) -> None:
    """The probe as it stands in the template: it reads the mount, and asks the server at the pod's address."""
    documents = list(yaml.safe_load_all((REPOSITORY / "k8s_templates" / "version.yaml").read_text()))
    deployment = next(each for each in documents if each["kind"] == "Deployment")
    template = deployment["spec"]["template"]["spec"]["containers"][0]
    probe = template["livenessProbe"] | {"periodSeconds": 1, "failureThreshold": 1}
    startup = probe | {"failureThreshold": 60}
    hang = tmp_path / "hang"
    for name in ("mount", "server"):
        space.pod(
            name,
            "--port=8501",
            f"--hang-while={hang}",
            spec={"volumes": [{"name": "m", "emptyDir": {}}]},
            volumeMounts=[{"name": "m", "mountPath": "/models"}],
            env=[*template["env"], {"name": "FOLDER", "value": "/models"}],
            startupProbe=startup,
            livenessProbe=probe,
        )
        until(lambda: space.status(name)["started"], "the probe has succeeded")  # noqa: B023
    _folder(space, "mount").rename(tmp_path / "away")
    until(lambda: space.status("mount")["restartCount"] >= 1, "it was restarted for its mount")
    assert "'/models': No such file or directory" in space.events("mount")["Unhealthy"]
    hang.touch()
    until(lambda: space.status("server")["restartCount"] >= 1, "it was restarted for its silence")
    assert "timed out after" in space.events("server")["Unhealthy"]
    hang.unlink()


def _folder(space: Namespace, pod: str) -> Path:
    url = f"http://{space.get('pods', pod)['status']['podIP']}:8501/env"
    return Path(json.loads(until(lambda: fetch(url), "it answers"))["FOLDER"])
