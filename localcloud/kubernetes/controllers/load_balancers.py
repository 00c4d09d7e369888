"""Services of type LoadBalancer: the part of the cloud that gives them an address."""

from collections.abc import Iterable

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.objects import dig, name_of, namespace_of
from localcloud.kubernetes.registry import controller_write
from localcloud.kubernetes.resources import SERVICES
from localcloud.kubernetes.store import Change, Key


class LoadBalancerController(Controller):
    """Publishes the address of a Service as its load balancer's: on one machine they are the same."""

    def initial(self) -> Iterable[Key]:
        """All Services."""
        return [(namespace_of(item), name_of(item)) for item in self.store.objects(SERVICES)]

    def concerned(self, change: Change) -> Iterable[Key]:
        """The Service itself."""
        return [(namespace_of(change.item), name_of(change.item))] if change.resource is SERVICES else []

    def reconcile(self, key: Key) -> float | None:
        """Sets ``status.loadBalancer.ingress``, once."""
        service = self.store.get(SERVICES, *key)
        if service is None or service["spec"]["type"] != "LoadBalancer":
            return None
        if dig(service, "status", "loadBalancer", "ingress"):
            return None
        changed = {**service, "status": {"loadBalancer": {"ingress": [{"ip": service["spec"]["clusterIP"]}]}}}
        write = controller_write("cloud-controller-manager", subresource="status")
        self.registry.update(SERVICES, *key, changed, write)
        record(
            self.registry, service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer", "service-controller"
        )  # fmt: skip
        return None
