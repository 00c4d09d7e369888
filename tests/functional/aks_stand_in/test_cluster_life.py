"""The cluster as a whole: pools that come and go, stop and start, kills and restarts, and nothing left behind."""

import os
import socket
import stat
import sys
import urllib.error
from pathlib import Path

import pytest

from tests.functional.aks_stand_in.stand import Stand, fetch, processes, running, until


def scale_gpu(stand: Stand, count: int) -> None:
    """Sets the GPU pool's count and waits for ARM to be done."""
    stand.arm("PUT", "/agentPools/gpu", {"properties": {"count": count}})
    stand.settled()


def test_a_pool_at_0_ends_its_pods_and_gives_them_back_on_a_new_node(azurite: str, tmp_path: Path) -> None:
    with running(tmp_path, azurite) as stand:
        space = stand.namespace("work")
        space.deployment("web")
        first = space.answer("web")
        url = space.address("web")
        before = set(stand.node_names())
        assert len(before) == 2
        scale_gpu(stand, 0)
        assert len(stand.node_names()) == 1
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        until(lambda: len(stand.api("GET", leases)["items"]) == 1, "the node's lease has gone with it")
        until(lambda: space.pods()[0]["status"]["phase"] == "Pending", "a new pod waits for a node")
        with pytest.raises(urllib.error.URLError, match="refused"):
            fetch(url)
        scale_gpu(stand, 1)
        second = until(lambda: fetch(url).decode(), "it answers again at the same address")
        assert second != first
        assert not set(stand.node_names()) <= before  # a new machine, with a new name


def test_a_stopped_cluster_does_not_answer_and_comes_back_as_it_was(azurite: str, tmp_path: Path) -> None:
    with running(tmp_path, azurite) as stand:
        space = stand.namespace("work")
        space.deployment("web")
        space.answer("web")
        address = space.address("web")
        stand.arm("POST", "/stop")
        until(lambda: stand.arm("GET", "")["properties"]["powerState"]["code"] == "Stopped", "it has stopped")
        stand.settled()
        for url in (stand.ready["kubernetes_url"], address):
            with pytest.raises(urllib.error.URLError, match="refused"):
                fetch(url)
        assert processes(str(tmp_path / "data" / "kubelet")) == []
        stand.arm("POST", "/start")
        stand.settled()
        assert space.answer("web")
        assert space.address("web") == address


def test_a_killed_stand_in_leaves_nothing_and_goes_on_from_its_folder(azurite: str, tmp_path: Path) -> None:
    mark, left = f"--say=kept-{os.getpid()}", f"left-kept-{os.getpid()}"
    first = Stand(tmp_path, azurite)
    try:
        space = first.namespace("work")
        space.pod("earlier", image="nobody/knows:1")  # takes the first address
        until(lambda: space.get("pods", "earlier")["status"]["podIP"], "the earlier pod has an address")
        space.deployment("web", mark, f"--leave={left}")
        pod = space.answer("web")
        url = space.address("web")
        space.delete_pod("earlier")
        until(lambda: space.gone("earlier"), "the earlier pod has gone")
        address = space.get("pods", pod)["status"]["podIP"]
        assert len(processes(mark)) == 1
    finally:
        first.kill()
    until(lambda: not processes(mark), "its children have ended")
    orphans = processes(left)
    with running(tmp_path, azurite) as second:
        assert second.ready == first.ready  # the same ports and keys
        space.stand = second
        assert until(lambda: fetch(url).decode(), "it answers again") == pod
        status = space.status(pod)
        assert space.get("pods", pod)["status"]["podIP"] == address
        assert status["restartCount"] == 1
        assert not set(orphans) & set(processes(left))
        assert status["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


def test_a_node_whose_machine_went_unseen_is_removed_with_its_pods(azurite: str, tmp_path: Path) -> None:
    """As after a kill in the middle of a scale-down."""
    first = Stand(tmp_path, azurite)
    try:
        space = first.namespace("work")
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "aks-gpu-00000000-vmss000009"}}
        first.api("POST", "/api/v1/nodes", node)
        space.pod("stranded", spec={"nodeName": "aks-gpu-00000000-vmss000009"})
    finally:
        first.kill()
    with running(tmp_path, azurite) as second:
        names = [node["metadata"]["name"] for node in second.api("GET", "/api/v1/nodes")["items"]]
        space.stand = second
        assert "aks-gpu-00000000-vmss000009" not in names
        assert space.gone("stranded")


def test_sigterm_ends_it_with_status_0_and_nothing_left(azurite: str, tmp_path: Path) -> None:
    mark = f"--say=term-{os.getpid()}"
    stand = Stand(tmp_path, azurite)
    try:
        space = stand.namespace("work")
        space.deployment("web", mark)
        space.answer("web")
    finally:
        status = stand.end()
    assert (status, processes(mark)) == (0, [])
    assert not (tmp_path / "ready.json").exists()
    assert "Traceback" not in stand.log
    assert "never retrieved" not in stand.log


def test_two_on_one_folder_are_refused(azurite: str, tmp_path: Path) -> None:
    with running(tmp_path, azurite, "--gpu-nodes", "0"):
        other = tmp_path / "other"
        other.mkdir()
        (other / "data").symlink_to(tmp_path / "data")
        with pytest.raises(AssertionError, match=r"another\s+local cloud"):
            Stand(other, azurite)


FAKE_SERVER = f"""#!{sys.executable}
import http.server, sys
flags = dict(each.lstrip("-").split("=", 1) for each in sys.argv[1:])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(flags["model_config_file"]).read().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("", int(flags["rest_api_port"])), Handler).serve_forever()
"""


def test_an_installed_tensorflow_model_server_runs_on_free_ports_with_mapped_paths(
    azurite: str, tmp_path: Path
) -> None:
    """The real binary listens on all interfaces and knows nothing of mounts."""
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.parent.mkdir()
    program.write_text(FAKE_SERVER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with running(tmp_path, azurite, PATH=f"{program.parent}:{os.environ['PATH']}") as stand:
        space = stand.namespace("work")
        config = 'config { base_path: "/scratch/cats" }'
        space.create("ConfigMap", "config", "/api/v1/configmaps", data={"models.config": config})
        spec = {"volumes": [{"name": "c", "configMap": {"name": "config"}}, {"name": "s", "emptyDir": {}}]}
        mounts = [{"name": "c", "mountPath": "/config"}, {"name": "s", "mountPath": "/scratch"}]
        flags = ["--rest_api_port=8501", "--model_config_file=/config/models.config"]
        space.pod("tfs", *flags, image="tensorflow/serving:2.20.0", spec=spec, volumeMounts=mounts)
        address = until(lambda: space.get("pods", "tfs")["status"]["podIP"], "the pod has an address")
        seen = until(lambda: fetch(f"http://{address}:8501").decode(), "it answers at its own address and port")
        folder = Path(seen.split('"')[1])
        assert folder.name == "cats"
        assert folder.parent.is_dir()


def test_a_port_that_is_taken_is_said_so(azurite: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(AssertionError, match=r"cannot run: .*address already in use"):
            Stand(tmp_path, azurite, ["--kubernetes-port", port])


@pytest.mark.parametrize(("flags", "code"), [(["--strict-signals"], 137), ([], 143)])
def test_a_signal_is_lost_on_who_does_not_handle_it_if_signals_are_strict(
    azurite: str, tmp_path: Path, flags: list[str], code: int
) -> None:
    """As on process 1 of a real container, which is then killed after its grace period."""
    failing = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1, "initialDelaySeconds": 2}
    with running(tmp_path, azurite, "--gpu-nodes", "0", *flags) as stand:
        space = stand.namespace("work")
        spec = {"terminationGracePeriodSeconds": 1}
        space.pod("deaf", command=["sh", "-c", "sleep 600 & wait"], spec=spec, livenessProbe=failing)
        space.pod("polite", spec={"terminationGracePeriodSeconds": 600}, livenessProbe=failing)
        until(lambda: space.status("deaf")["lastState"]["terminated"]["exitCode"] == code, f"one ended with {code}")
        until(lambda: space.status("polite")["lastState"]["terminated"]["reason"] == "Completed", "the other by itself")
