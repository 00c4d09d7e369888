"""Pods run as processes: what their status, events, logs, volumes and Services say is what happens."""

import itertools
import json
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.functional.aks_stand_in.stand import HttpError, Namespace, condition, fetch, processes, until

_numbers = itertools.count()


def probe(path: str = "/healthz", **numbers: int) -> dict[str, object]:
    """A probe of the image's health, asked every second."""
    return {"httpGet": {"path": path, "port": 8501}, "periodSeconds": 1, "failureThreshold": 1, **numbers}


def test_a_deployment_answers_through_its_service(space: Namespace) -> None:
    space.deployment("web")
    pod = until(lambda: space.pods()[0]["status"]["podIP"] and space.pods()[0], "the pod has an address")
    assert space.answer("web") == pod["metadata"]["name"]
    pod = space.get("pods", pod["metadata"]["name"])
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"] != pod["status"]["hostIP"]
    assert {"Pulled", "Created", "Started"} <= space.events(pod["metadata"]["name"]).keys()
    for kind in ("Initialized", "ContainersReady", "Ready", "PodScheduled"):
        assert condition(pod, kind) == "True"


def test_gpu_pods_need_a_free_gpu(space: Namespace) -> None:
    """One node, one GPU: the second waits until the first has gone."""
    gpu: Any = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    spec = {"nodeSelector": {"agentpool": "gpu"}, "tolerations": [{"key": "sku", "operator": "Exists"}]}
    space.pod("first", spec=spec, **gpu)
    until(lambda: space.get("pods", "first")["status"]["phase"] == "Running", "the first runs")
    space.pod("second", spec=spec, **gpu)
    until(lambda: condition(space.get("pods", "second"), "PodScheduled") == "False", "the second is unschedulable")
    space.delete_pod("first")
    until(lambda: space.get("pods", "second")["status"]["phase"] == "Running", "the second runs")
    space.delete_pod("second")
    until(lambda: space.gone("second"), "the second has gone")


def test_an_unknown_image_is_never_pulled(space: Namespace) -> None:
    space.pod("lost", image="nobody/knows:1")
    until(
        lambda: space.status("lost")["state"]["waiting"]["reason"] == "ImagePullBackOff", "the image cannot be pulled"
    )
    assert "nobody/knows:1" in space.status("lost")["state"]["waiting"]["message"]
    assert space.get("pods", "lost")["status"]["phase"] == "Pending"
    assert {"Failed", "BackOff"} <= space.events("lost").keys()


def test_a_container_that_ends_badly_is_restarted_ever_later(space: Namespace) -> None:
    space.pod("crash", "--exit=3", "--say=first|the reason", terminationMessagePolicy="FallbackToLogsOnError")
    until(lambda: space.status("crash")["restartCount"] >= 2, "it was restarted twice")
    status = until(
        lambda: space.status("crash")["state"].get("waiting") and space.status("crash"), "it waits for the next start"
    )
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    last = status["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (3, "Error", "first\nthe reason\n")
    assert space.get("pods", "crash")["status"]["phase"] == "Running"
    assert "Back-off restarting failed container main" in space.events("crash")["BackOff"]
    assert space.log("crash", "?previous=true") == "first\nthe reason\n"


def test_repeated_events_count_up(space: Namespace) -> None:
    space.pod("crash", "--exit=3")

    def started() -> list[Any]:
        listed = space.stand.api("GET", f"/api/v1/namespaces/{space.name}/events")["items"]
        return [event for event in listed if event["reason"] == "Started"]

    until(lambda: started()[0]["count"] >= 2, "the second start is counted")
    assert len(started()) == 1


def test_what_a_container_leaves_behind_ends_with_it(space: Namespace) -> None:
    mark = f"left-{os.getpid()}-{next(_numbers)}"
    space.pod("once", f"--leave={mark}", "--exit=0", spec={"restartPolicy": "Never"})
    until(lambda: space.get("pods", "once")["status"]["phase"] == "Succeeded", "the pod has ended")
    until(lambda: not processes(mark), "its child has ended")


def test_addresses_of_pods_that_have_gone_are_free_again(space: Namespace) -> None:
    """There are 118; these are more."""
    for batch in range(2):
        names = [f"pod-{batch}-{number}" for number in range(60)]
        for name in names:
            space.pod(name, image="nobody/knows:1")
        until(lambda: len(space.pods()) == 60 and all(_address(pod) for pod in space.pods()), "all have an address")
        for name in names:
            space.delete_pod(name)
        until(lambda: not space.pods(), "all have gone")


def _address(pod: Any) -> str | None:
    address: str | None = pod["status"].get("podIP")
    return address


@pytest.mark.parametrize(("policy", "code", "phase"), [("Never", 0, "Succeeded"), ("Never", 4, "Failed")])
def test_a_pod_that_is_not_restarted_ends(space: Namespace, policy: str, code: int, phase: str) -> None:
    space.pod("once", f"--exit={code}", spec={"restartPolicy": policy})
    until(lambda: space.get("pods", "once")["status"]["phase"] == phase, f"the pod is {phase}")
    assert space.status("once")["state"]["terminated"]["exitCode"] == code


def test_an_unready_pod_gets_no_requests(space: Namespace, tmp_path: Path) -> None:
    """Connecting to a Service without a ready endpoint is refused."""
    healthy = tmp_path / "healthy"
    space.deployment("web", f"--healthy-while={healthy}", gpu=False, readinessProbe=probe())
    pod = until(lambda: space.pods()[0]["metadata"]["name"], "there is a pod")
    until(lambda: "statuscode: 503" in space.events(pod)["Unhealthy"], "the probe fails")
    url = space.address("web")
    assert condition(space.get("pods", pod), "Ready") == "False"
    with pytest.raises(urllib.error.URLError, match="refused"):
        fetch(url)
    healthy.touch()
    assert space.answer("web") == pod
    assert condition(space.get("pods", pod), "Ready") == "True"
    healthy.unlink()
    until(lambda: condition(space.get("pods", pod), "Ready") == "False", "the pod is not ready any more")
    until(lambda: _refused(url), "the Service refuses")
    assert space.status(pod)["restartCount"] == 0


def _refused(url: str) -> bool:
    try:
        fetch(url)
    except urllib.error.URLError as error:
        return isinstance(error.reason, ConnectionRefusedError)
    return False


def test_a_container_that_fails_its_liveness_probe_is_restarted(space: Namespace, tmp_path: Path) -> None:
    healthy = tmp_path / "healthy"
    healthy.touch()
    space.pod("live", "--port=8501", f"--healthy-while={healthy}", livenessProbe=probe(failureThreshold=2))
    until(lambda: space.status("live")["state"]["running"], "it runs")
    healthy.unlink()
    until(lambda: space.status("live")["restartCount"] >= 1, "it was restarted")
    assert "failed liveness probe, will be restarted" in space.events("live")["Killing"]
    healthy.touch()
    until(lambda: space.status("live")["ready"], "it is well again")


def test_nothing_is_ready_before_its_startup_probe_succeeds(space: Namespace, tmp_path: Path) -> None:
    healthy = tmp_path / "healthy"
    startup = probe(failureThreshold=30)
    space.pod("slow", "--port=8501", f"--healthy-while={healthy}", startupProbe=startup)
    until(lambda: "Startup probe failed" in space.events("slow")["Unhealthy"], "the startup probe fails")
    assert (space.status("slow")["started"], space.status("slow")["ready"]) == (False, False)
    healthy.touch()
    until(lambda: space.status("slow")["ready"], "it is ready")


def test_a_container_that_never_starts_up_is_killed(space: Namespace) -> None:
    space.pod(
        "never", "--port=8501", startupProbe={"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2}
    )
    until(lambda: "failed startup probe" in space.events("never")["Killing"], "it is killed")


def test_an_exec_probe_sees_the_mounted_paths(space: Namespace) -> None:
    space.create("ConfigMap", "settings", "/api/v1/configmaps", data={"a.txt": "1"})
    mounts: Any = {
        "spec": {"volumes": [{"name": "v", "configMap": {"name": "settings"}}]},
        "volumeMounts": [{"name": "v", "mountPath": "/etc/settings"}],
    }
    look = {"exec": {"command": ["sh", "-c", "test -r /etc/settings/a.txt"]}, "periodSeconds": 1}
    lost = {"exec": {"command": ["cat", "/etc/settings/b.txt"]}, "periodSeconds": 1}
    space.pod("sees", readinessProbe=look, **mounts)
    space.pod("blind", readinessProbe=lost, **mounts)
    until(lambda: space.status("sees")["ready"], "the file is seen")
    until(
        lambda: "cat: /etc/settings/b.txt: No such file" in space.events("blind")["Unhealthy"], "the other one is not"
    )


def test_volumes_and_variables_are_as_declared(space: Namespace) -> None:
    space.create("ConfigMap", "settings", "/api/v1/configmaps", data={"greeting": "hello", "b": "2"})
    space.create("Secret", "key", "/api/v1/secrets", stringData={"token": "s3cret"})
    spec = {
        "volumes": [
            {"name": "v", "configMap": {"name": "settings", "items": [{"key": "greeting", "path": "sub/file"}]}},
            {"name": "scratch", "emptyDir": {}},
        ]
    }
    env = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
        {"name": "BOTH", "value": "$(POD)-$(GREETING)"},
        {"name": "SCRATCH", "value": "/scratch/here"},
    ]
    all_of = [{"configMapRef": {"name": "settings"}, "prefix": "from_"}, {"secretRef": {"name": "key"}}]
    mounts = [{"name": "v", "mountPath": "/etc/settings"}, {"name": "scratch", "mountPath": "/scratch"}]
    space.pod("full", "--show=/etc/settings/sub/file", spec=spec, env=env, envFrom=all_of, volumeMounts=mounts)
    until(lambda: space.status("full")["ready"], "it is ready")
    address = space.get("pods", "full")["status"]["podIP"]
    url = f"http://{address}:8080"
    assert until(lambda: fetch(url).decode(), "it answers") == "hello"
    seen = json.loads(fetch(f"{url}/env"))
    assert (seen["POD"], seen["ADDRESS"], seen["GREETING"], seen["TOKEN"]) == ("full", address, "hello", "s3cret")
    assert (seen["BOTH"], seen["from_b"], seen["token"]) == ("full-hello", "2", "s3cret")
    assert Path(seen["SCRATCH"]).parent.is_dir()


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"hostPath": {"path": "/etc"}}, "does not mount hostPath volumes"),
        ({"configMap": {"name": "missing"}}, 'configmap "missing"'),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_named(space: Namespace, volume: dict[str, object], message: str) -> None:
    space.pod("held", spec={"volumes": [{"name": "v", **volume}]}, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    until(lambda: message in space.events("held")["FailedMount"], "the event names it")
    assert space.get("pods", "held")["status"]["phase"] == "Pending"


def test_a_claim_on_a_volume_of_another_kind_is_refused_by_name(space: Namespace) -> None:
    space.volume("disk", {"hostPath": {"path": "/etc"}})
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}]
    space.pod("held", spec={"volumes": volumes}, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    until(lambda: "not one of blob.csi.azure.com" in space.events("held")["FailedMount"], "the event names it")


def test_a_blob_container_that_does_not_exist_is_named(space: Namespace) -> None:
    space.blob_volume("late")
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "late"}}]
    space.pod("waits", "--show=/v/a", spec={"volumes": volumes}, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    until(lambda: "blob container late does not exist" in space.events("waits")["FailedMount"], "the event names it")


def test_a_pod_starts_once_its_configmap_is_there(space: Namespace) -> None:
    volumes = [{"name": "v", "configMap": {"name": "late"}}]
    space.pod("patient", "--show=/v/a", spec={"volumes": volumes}, volumeMounts=[{"name": "v", "mountPath": "/v"}])
    until(lambda: space.events("patient")["FailedMount"], "it waits")
    space.create("ConfigMap", "late", "/api/v1/configmaps", data={"a": "1"})
    until(lambda: space.status("patient")["ready"], "it runs")


def test_a_missing_key_of_a_variable_is_said_on_the_container(space: Namespace) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "missing", "key": "a"}}}]
    space.pod("held", env=env)
    until(
        lambda: space.status("held")["state"]["waiting"]["reason"] == "CreateContainerConfigError", "the state says so"
    )


def test_a_program_that_is_not_in_the_image_is_said_on_the_container(space: Namespace) -> None:
    space.pod("held", command=["/usr/bin/nothing"])
    until(lambda: space.status("held")["state"]["waiting"]["reason"] == "RunContainerError", "the state says so")
    assert "/usr/bin/nothing" in space.status("held")["state"]["waiting"]["message"]


def test_a_deleted_pod_is_asked_to_end(space: Namespace) -> None:
    mark = f"--say=ending-{os.getpid()}-{next(_numbers)}"
    space.pod("polite", mark)
    until(lambda: space.log("polite"), "it runs")
    assert processes(mark)
    followed = _follow(space, "polite")
    space.delete_pod("polite")
    until(lambda: space.gone("polite"), "it has gone")
    assert processes(mark) == []
    assert followed().endswith("asked to end\n")


def _follow(space: Namespace, pod: str) -> "Follower":
    return Follower(space, pod)


class Follower:
    """Follows a pod's log in the background; called, it waits for the end and gives all of it."""

    def __init__(self, space: Namespace, pod: str) -> None:
        ready = space.stand.ready
        url = f"{ready['kubernetes_url']}/api/v1/namespaces/{space.name}/pods/{pod}/log?follow=true"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {ready['kubernetes_token']}"})  # noqa: S310
        self._response = urllib.request.urlopen(request, timeout=30)  # noqa: S310
        self._text = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._response:
            self._text = self._response.read()

    def __call__(self) -> str:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self._text.decode()


def test_a_pod_that_does_not_listen_is_killed_after_its_grace(space: Namespace) -> None:
    mark = f"--say=stubborn-{os.getpid()}-{next(_numbers)}"
    space.pod("stubborn", mark, "--ignore-term", spec={"terminationGracePeriodSeconds": 1})
    until(lambda: space.log("stubborn"), "it runs")
    followed = _follow(space, "stubborn")
    space.delete_pod("stubborn")
    until(lambda: space.gone("stubborn"), "it has gone")
    assert "asked to end" in followed()
    assert processes(mark) == []


def test_a_prestop_hook_comes_before_the_signal(space: Namespace) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo done > /scratch/hook; sleep 2"]}}}
    mounts = [{"name": "s", "mountPath": "/scratch"}]
    volumes = {"volumes": [{"name": "s", "emptyDir": {}}]}
    space.pod("hooked", "--end-after=/scratch/hook", spec=volumes, volumeMounts=mounts, lifecycle=hook)
    until(lambda: space.status("hooked")["ready"], "it runs")
    address = space.get("pods", "hooked")["status"]["podIP"]
    until(lambda: fetch(f"http://{address}:8080"), "it serves")
    followed = _follow(space, "hooked")
    space.delete_pod("hooked")
    until(lambda: space.gone("hooked"), "it has gone")
    assert "asked to end" not in followed()  # the hook's file ended it


def test_a_pod_deleted_by_force_ends_too(space: Namespace) -> None:
    mark = f"--say=forced-{os.getpid()}-{next(_numbers)}"
    space.pod("forced", mark, "--ignore-term")
    until(lambda: space.log("forced"), "it runs")
    space.delete_pod("forced", kind="DeleteOptions", apiVersion="v1", gracePeriodSeconds=0)
    assert space.gone("forced")
    until(lambda: not processes(mark), "its process has ended")


def test_logs_have_a_tail_and_a_limit(space: Namespace) -> None:
    space.pod("talks", "--say=one|two|three")
    until(lambda: space.log("talks") == "one\ntwo\nthree\n", "all is logged")
    assert space.log("talks", "?tailLines=2") == "two\nthree\n"
    assert space.log("talks", "?limitBytes=5") == "one\nt"
    with pytest.raises(HttpError) as refused:
        space.log("talks", "?previous=true")
    assert refused.value.status == 400
