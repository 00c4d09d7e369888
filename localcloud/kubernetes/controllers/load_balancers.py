"""Services of type LoadBalancer: the part of the cloud that gives them an address."""

from localcloud.kubernetes.controllers.events import record
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.objects import dig
from localcloud.kubernetes.resources import SERVICES
from localcloud.kubernetes.store import Key


class LoadBalancerController(Controller):
    """Publishes the address of a Service as its load balancer's: on one machine they are the same."""

    watched = SERVICES
    manager = "cloud-controller-manager"

    def reconcile(self, key: Key) -> float | None:
        """Sets ``status.loadBalancer.ingress``, once."""
        service = self.store.get(SERVICES, *key)
        if service is None or service["spec"]["type"] != "LoadBalancer":
            return None
        if dig(service, "status", "loadBalancer", "ingress"):
            return None
        self.update_status(SERVICES, service, {"loadBalancer": {"ingress": [{"ip": service["spec"]["clusterIP"]}]}})
        record(
            self.registry, service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer", "service-controller"
        )  # fmt: skip
        return None
