"""Namespaces: what each starts with, and their end with all that is in them."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import ensure_deleted
from localcloud.kubernetes.objects import clone, is_terminating, name_of, namespace_of
from localcloud.kubernetes.registry import controller_write
from localcloud.kubernetes.resources import CONFIG_MAPS, NAMESPACES, RESOURCES, SERVICE_ACCOUNTS
from localcloud.kubernetes.store import Change, Key

_BUILT_IN = ("default", "kube-system", "kube-public", "kube-node-lease")
_ROOT_CA = "kube-root-ca.crt"
_ROOT_CA_IS = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal "
    "service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)


class NamespaceController(Controller):
    """Creates the built-in namespaces, fills new ones, empties terminating ones."""

    watched = NAMESPACES

    def initial(self) -> Iterable[Key]:
        """All namespaces, the built-in ones included."""
        return [("", name) for name in {*_BUILT_IN, *map(name_of, self.store.objects(NAMESPACES))}]

    def related(self, change: Change) -> Iterable[Key]:
        """The home of an object that goes."""
        return [("", namespace_of(change.item))] if change.kind == "DELETED" and namespace_of(change.item) else []

    def reconcile(self, key: Key) -> float | None:
        """Fills or empties one namespace."""
        name = key[1]
        namespace = self.store.get(NAMESPACES, "", name)
        if namespace is None:
            if name in _BUILT_IN:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                self.registry.create(NAMESPACES, "", body, controller_write("kube-apiserver"))
            return None
        if is_terminating(namespace):
            self._empty(name)
            return None
        if self.store.get(SERVICE_ACCOUNTS, name, "default") is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self.registry.create(SERVICE_ACCOUNTS, name, account, controller_write())
        if self.store.get(CONFIG_MAPS, name, _ROOT_CA) is None:
            metadata = {"name": _ROOT_CA, "annotations": {"kubernetes.io/description": _ROOT_CA_IS}}
            certificates = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": ""}}
            self.registry.create(CONFIG_MAPS, name, certificates, controller_write())
        return None

    def _empty(self, name: str) -> None:
        left = 0
        for resource in RESOURCES:
            if not resource.namespaced:
                continue
            for item in self.store.objects(resource, name):
                if not is_terminating(item):
                    ensure_deleted(self.registry, resource, item, policy="Background")
            left += len(self.store.objects(resource, name))
        namespace = self.store.get(NAMESPACES, "", name)
        if left == 0 and namespace is not None:
            finished = clone(namespace)
            finished["spec"].pop("finalizers", None)
            self.update(NAMESPACES, finished, "finalize")
