"""What keeps a version from serving is told in words, with what the server itself said and what to do about it."""

from typing import Any

import pytest

from deployer.adapters.pods import worst_failure
from deployer.pod_failures import in_words, said
from deployer.ports import SIDECAR, PodFailure

NO_GPU = "0/3 nodes are available: 1 node(s) had untolerated taint {slipway: gpu}, 2 Insufficient nvidia.com/gpu."
NO_CPU = (
    "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found."
)
NO_VOLUME = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
NO_IMAGE = 'Back-off pulling image "tensorflow/serving:9": not found'
LOAD = """2026-07-01 12:00:00.000001: I tensorflow_serving/model_servers/server.cc:77] Building a model config
2026-07-01 12:00:01.123456: E tensorflow_serving/util/retrier.cc:37] Loading servable: {name: cats version: 2} failed: \
DATA_LOSS: Can't parse /models/cats/2/saved_model.pb as binary proto
2026-07-01 12:00:02.000001: I tensorflow_serving/core/basic_manager.cc:1] quiet
"""
MEMORY = (
    "2026-07-01 12:00:01.1: W x.cc:1] OP_REQUIRES failed : RESOURCE_EXHAUSTED: OOM when allocating tensor of 12 GiB"
)


@pytest.mark.parametrize(
    ("reason", "message", "told", "hint"),
    [
        ("Unschedulable", NO_GPU, ["no GPU is free", "2 Insufficient nvidia.com/gpu"], ["replace", "gpu-device-plugin"]),
        ("Unschedulable", NO_CPU, ["no node has room", "Insufficient cpu"], ["SLIPWAY_SERVING__CPU", "replace"]),
        ("Unschedulable", NO_VOLUME, ["volume with the servables"], ["describe pvc", "CSI"]),
        ("ErrImagePull", NO_IMAGE, ["cannot be pulled", "tensorflow/serving:9"], ["SLIPWAY_SERVING__IMAGE", "registry"]),
        ("ImagePullBackOff", NO_IMAGE, ["cannot be pulled"], ["SLIPWAY_SERVING__GPU_IMAGE"]),
        ("InvalidImageName", "couldn't parse", ["cannot be pulled"], ["SLIPWAY_SERVING__IMAGE"]),
        ("ErrImageNeverPull", "is not present", ["cannot be pulled"], ["SLIPWAY_SERVING__IMAGE"]),
        ("Sidecar", "ImagePullBackOff: busybox", ["reads the servable ahead", "ImagePullBackOff"], ["PREFETCH_IMAGE", "empty"]),
        ("CreateContainerConfigError", 'configmap "x" not found', ["container cannot be made", "configmap"], ["describe pods"]),
        ("RunContainerError", "no such device", ["container cannot be made"], ["device"]),
        ("OOMKilled", "", ["ran out of memory"], ["SLIPWAY_SERVING__MEMORY"]),
        ("NotReady", "it runs", ["readiness probe never passed"], ["SLIPWAY_ROLLOUT__PODS_SECONDS", "logs"]),
        ("Error", LOAD, ["the model does not load", "DATA_LOSS: Can't parse /models/cats/2"], ["logs"]),
        ("CrashLoopBackOff", MEMORY, ["does not fit the GPU's memory", "OOM when allocating"], ["GPU_MEMORY_FRACTION"]),
        ("Error", "exit status 134", ["does not stay up (Error: exit status 134)"], ["logs"]),
    ],
)  # fmt: skip
def test_each_reason_has_its_words_and_its_cure(reason: str, message: str, told: list[str], hint: list[str]) -> None:
    words, advice = in_words(PodFailure(reason, message, fatal=True))
    assert all(word in words for word in told), words
    assert all(word in advice for word in hint), advice


def waiting(name: str, reason: str) -> dict[str, Any]:
    return {"name": name, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "told"}}}


@pytest.mark.parametrize(
    ("first", "server", "failure"),
    [
        (waiting("prefetch", "PodInitializing"), "PodInitializing", None),
        (waiting("prefetch", "ErrImagePull"), "PodInitializing", PodFailure(SIDECAR, "ErrImagePull: told", fatal=False)),
        (waiting("prefetch", "InvalidImageName"), "PodInitializing", PodFailure(SIDECAR, "InvalidImageName: told", fatal=True)),
        (waiting("prefetch", "CrashLoopBackOff"), "PodInitializing", PodFailure(SIDECAR, "CrashLoopBackOff: told", fatal=False)),
        (waiting("prefetch", "CrashLoopBackOff"), "ImagePullBackOff", PodFailure("ImagePullBackOff", "told", fatal=True)),
        ({"name": "prefetch", "state": {"running": {}}, "ready": True}, "ContainerCreating", None),
        (waiting("mesh", "CrashLoopBackOff"), "PodInitializing", None),
    ],
)  # fmt: skip
def test_the_sidecars_failure_is_not_taken_for_the_model_servers(
    first: dict[str, Any], server: str, failure: PodFailure | None
) -> None:
    status = {"initContainerStatuses": [first], "containerStatuses": [waiting("tensorflow-serving", server)]}
    assert worst_failure([{"metadata": {"name": "x"}, "status": status}]) == failure


def test_the_words_stand_in_one_line_without_the_logs_own_prefix() -> None:
    words, _ = in_words(PodFailure("Error", LOAD, fatal=True))
    assert "\n" not in words and "retrier.cc" not in words and "2026-07-01" not in words


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", "it says nothing"),
        ("\n \n", "it says nothing"),
        ("starting\nlistening", "listening"),
        ("E a.cc:1] Invalid argument: no\nbye", "Invalid argument: no"),
        ("error: first\nI quiet\nerror: last\nI quiet", "error: last"),
        ("2026-07-01 12:00:00.1: ", "2026-07-01 12:00:00.1:"),
    ],
)
def test_the_telling_line_of_a_log_is_its_last_that_speaks_of_an_error(log: str, line: str) -> None:
    assert said(log) == line


def test_a_long_message_is_cut() -> None:
    found = said("failed: " + "x" * 1000)
    assert len(found) == 400 and found.endswith("…")
