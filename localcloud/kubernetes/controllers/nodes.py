"""Nodes: tainted until they are ready, and their pods gone with them."""

from collections.abc import Iterable

from localcloud.kubernetes.admission import NOT_READY
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import DeleteOptions, delete
from localcloud.kubernetes.objects import clone, is_true, name_of, namespace_of
from localcloud.kubernetes.resources import NODES, PODS
from localcloud.kubernetes.store import Key

_TTL = "node.alpha.kubernetes.io/ttl"


class NodeController(Controller):
    """Follows nodes as they come, get ready and go."""

    watched = NODES

    def initial(self) -> Iterable[Key]:
        """All nodes, and those that pods still name."""
        named = {pod["spec"].get("nodeName", "") for pod in self.store.objects(PODS)}
        return [("", name) for name in {*map(name_of, self.store.objects(NODES)), *named} if name]

    def reconcile(self, key: Key) -> float | None:
        """Sets or removes the not-ready taint; removes the pods of a node that is gone."""
        node = self.store.get(NODES, *key)
        if node is None:
            for pod in self.store.objects(PODS):
                if pod["spec"].get("nodeName") == key[1]:
                    delete(self.registry, PODS, namespace_of(pod), name_of(pod), DeleteOptions(grace_seconds=0))
            return None
        changed = clone(node)
        changed["metadata"].setdefault("annotations", {}).setdefault(_TTL, "0")
        taints = [t for t in changed["spec"].get("taints") or [] if t.get("key") != NOT_READY["key"]]
        if not is_true(node, "Ready"):
            taints.append(dict(NOT_READY))
        changed["spec"].pop("taints", None)
        if taints:
            changed["spec"]["taints"] = taints
        if changed != node:
            self.update(NODES, changed)
        return None
