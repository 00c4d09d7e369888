"""Which node a pod can run on, and why not the others. Pure; ``scheduler`` performs it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from localcloud.kubernetes.objects import Object, dig, labels_of, name_of
from localcloud.kubernetes.quantities import parse_quantity
from localcloud.kubernetes.selectors import match_expression

Amounts = dict[str, Decimal]

_NO_VICTIMS = "No preemption victims found for incoming pod"
_NOT_HELPFUL = "Preemption is not helpful for scheduling"


@dataclass(frozen=True)
class Placement:
    """Where a pod goes; without a node, the message that its condition and event carry."""

    node: str | None
    message: str = ""


def place(pod: Object, nodes: Sequence[Object], pods: Sequence[Object], *, volume_fault: str = "") -> Placement:
    """Finds the node with the most room for ``pod``; ``pods`` are all that are bound to a node and not ended."""
    if volume_fault:
        return Placement(None, _message(len(nodes), Counter({volume_fault: 0}), Counter({_NOT_HELPFUL: len(nodes)})))
    if not nodes:
        return Placement(None, "no nodes available to schedule pods")
    faults: Counter[str] = Counter()
    preemption: Counter[str] = Counter()
    fitting: list[tuple[Decimal, str]] = []
    for node in nodes:
        fault = _mismatch(pod, node)
        lacking = [] if fault else _lacking(pod, node, pods)
        if fault:
            faults[fault] += 1
            preemption[_NOT_HELPFUL] += 1
        elif lacking:
            faults.update(lacking)
            preemption[_NO_VICTIMS] += 1
        else:
            fitting.append((_load(node, pods), name_of(node)))
    if fitting:
        return Placement(min(fitting)[1])
    return Placement(None, _message(len(nodes), faults, preemption))


def _message(total: int, faults: Counter[str], preemption: Counter[str]) -> str:
    prefix = f"0/{total} nodes are available: "
    said = ", ".join(sorted(f"{count} {fault}" if count else fault for fault, count in faults.items()))
    hopes = ", ".join(sorted(f"{count} {hope}" for hope, count in preemption.items()))
    return f"{prefix}{said}. no new claims to deallocate, preemption: {prefix}{hopes}."


def _mismatch(pod: Object, node: Object) -> str | None:
    spec = pod["spec"]
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    untolerated = [
        taint
        for taint in node["spec"].get("taints") or []
        if taint.get("effect") in ("NoSchedule", "NoExecute") and not tolerates(spec.get("tolerations") or [], taint)
    ]
    if untolerated:
        return "node(s) had untolerated taint(s)"
    if not _selected(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    return None


def tolerates(tolerations: Sequence[Object], taint: Object) -> bool:
    """Tells whether one of the tolerations admits a taint."""
    return any(_admits(toleration, taint) for toleration in tolerations)


def _admits(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return bool(toleration.get("key") in (None, "", taint["key"]))
    same_value = toleration.get("value", "") == taint.get("value", "")
    return bool(toleration.get("key") == taint["key"] and same_value)


def _selected(spec: Object, node: Object) -> bool:
    labels = labels_of(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    path = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = dig(spec, *path)
    return terms is None or any(
        all(match_expression(e["key"], e["operator"], e.get("values") or [], labels) for e in term["matchExpressions"])
        for term in terms
        if term.get("matchExpressions")
    )


def requests_of(pod: Object) -> Amounts:
    """Returns what a pod asks for: the sum of its containers, or its largest init container, and one pod's place."""
    total: Amounts = {"pods": Decimal(1)}
    for container in pod["spec"]["containers"]:
        for name, amount in (dig(container, "resources", "requests") or {}).items():
            total[name] = total.get(name, Decimal(0)) + parse_quantity(amount)
    for container in pod["spec"].get("initContainers") or []:
        for name, amount in (dig(container, "resources", "requests") or {}).items():
            total[name] = max(total.get(name, Decimal(0)), parse_quantity(amount))
    return total


def _used(node: Object, pods: Sequence[Object]) -> Amounts:
    used: Amounts = {}
    for pod in pods:
        if pod["spec"].get("nodeName") == name_of(node):
            for name, amount in requests_of(pod).items():
                used[name] = used.get(name, Decimal(0)) + amount
    return used


def _lacking(pod: Object, node: Object, pods: Sequence[Object]) -> list[str]:
    room = {name: parse_quantity(amount) for name, amount in (dig(node, "status", "allocatable") or {}).items()}
    used = _used(node, pods)
    lacking = []
    for name, amount in requests_of(pod).items():
        if amount and used.get(name, Decimal(0)) + amount > room.get(name, Decimal(0)):
            lacking.append("Too many pods" if name == "pods" else f"Insufficient {name}")
    return lacking


def _load(node: Object, pods: Sequence[Object]) -> Decimal:
    return _used(node, pods).get("pods", Decimal(0))
