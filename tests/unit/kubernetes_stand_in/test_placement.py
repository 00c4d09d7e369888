"""Where pods are placed, and the words for why they are not, as a real scheduler was recorded to say them."""

from typing import Any

from localcloud.kubernetes.controllers.placement import place, tolerates

TAINT = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}


def node(name: str, *, gpus: int = 1, labels: dict[str, str] | None = None, taints: Any = ()) -> dict[str, Any]:
    allocatable = {"cpu": "4", "pods": "10", "nvidia.com/gpu": str(gpus)}
    spec = {"taints": list(taints)}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": {"allocatable": allocatable}}


def pod(*, gpus: int = 0, on: str | None = None, **spec: Any) -> dict[str, Any]:
    requests = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    whole = {"containers": [{"name": "c", "resources": {"requests": requests}}], **spec}
    return {"metadata": {"name": "p"}, "spec": whole | ({"nodeName": on} if on else {}), "status": {}}


def test_an_untolerated_taint_is_named() -> None:
    assert place(pod(), [node("n", taints=[TAINT])], []).message == (
        "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/1 nodes "
        "are available: 1 Preemption is not helpful for scheduling."
    )


def test_a_selector_that_matches_no_node_is_named() -> None:
    assert place(pod(nodeSelector={"agentpool": "gpu"}), [node("n")], []).message == (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )


def test_a_gpu_in_use_is_lacking() -> None:
    placement = place(pod(gpus=1), [node("n"), node("m", gpus=0)], [pod(gpus=1, on="n")])
    assert placement.node is None
    assert placement.message.startswith("0/2 nodes are available: 2 Insufficient nvidia.com/gpu. ")


def test_the_emptier_of_two_nodes_is_taken() -> None:
    assert place(pod(), [node("a"), node("b")], [pod(on="a")]).node == "b"


def test_a_full_node_has_too_many_pods() -> None:
    assert "1 Too many pods" in place(pod(), [node("n")], [pod(on="n") for _ in range(10)]).message


def test_a_cordoned_node_is_unschedulable() -> None:
    closed = node("n")
    closed["spec"]["unschedulable"] = True
    assert "1 node(s) were unschedulable" in place(pod(), [closed], []).message


def test_without_nodes_there_is_nothing_to_say_about_them() -> None:
    assert place(pod(), [], []).message == "no nodes available to schedule pods"


def test_a_claim_that_is_not_bound_keeps_the_pod_waiting() -> None:
    placement = place(pod(), [node("n")], [], volume_fault="pod has unbound immediate PersistentVolumeClaims")
    assert placement.message.startswith("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. ")


def test_a_toleration_admits_by_value_or_by_existence() -> None:
    assert tolerates([{"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}], TAINT)
    assert tolerates([{"key": "sku", "operator": "Exists"}], TAINT)
    assert tolerates([{"operator": "Exists"}], TAINT)
    assert not tolerates([{"key": "sku", "operator": "Equal", "value": "cpu"}], TAINT)
    assert not tolerates([{"key": "sku", "operator": "Exists", "effect": "NoExecute"}], TAINT)
