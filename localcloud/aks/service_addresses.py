"""The addresses of Services: one inside the cluster, one more for a load balancer, kept until the Service goes.

The Kubernetes API asks for an address before it stores a Service, maybe more than once; that it went is heard of later,
from a watch. Addresses are therefore kept by the Service's name, also across restarts.
"""

import json
from pathlib import Path
from typing import Literal

from localcloud.aks.files import write_atomically
from localcloud.aks.service_routes import ingress_address
from localcloud.kubelet import AddressPool, Object

_Purpose = Literal["cluster", "balancer"]


class ServiceAddresses:
    """Gives Services addresses of a pool; what it gave is kept in a file."""

    def __init__(self, pool: AddressPool, file: Path) -> None:
        self._pool = pool
        self._file = file
        self._given: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        for address in self._given.values():
            pool.reserve(address)
        self._unconfirmed = set(self._given)

    def cluster_address(self, service: Object) -> str:
        """The Service's ``clusterIP``; the same one each time it is asked."""
        return self._give("cluster", service)

    def balancer_address(self, service: Object) -> str:
        """The address of the Service's load balancer; the same one each time it is asked."""
        return self._give("balancer", service)

    def seen(self, service: Object) -> None:
        """A Service is there, with the addresses it says."""
        self._keep("cluster", service, service["spec"].get("clusterIP"))
        self._keep("balancer", service, ingress_address(service))

    def gone(self, service: Object) -> None:
        """A Service is no longer there."""
        for purpose in ("cluster", "balancer"):
            self._release(_key(purpose, service))

    def all_seen(self) -> None:
        """Every Service that there is has been `seen` since the start: what was kept for others is free."""
        for key in list(self._unconfirmed):
            self._release(key)

    def _give(self, purpose: _Purpose, service: Object) -> str:
        key = _key(purpose, service)
        if key not in self._given:
            self._given[key] = self._pool.allocate()
            self._save()
        self._unconfirmed.discard(key)
        return self._given[key]

    def _keep(self, purpose: _Purpose, service: Object, address: str | None) -> None:
        key = _key(purpose, service)
        self._unconfirmed.discard(key)
        if address is None or address == "None":
            self._release(key)
        elif self._given.get(key) != address and self._pool.reserve(address):
            self._release(key)
            self._given[key] = address
            self._save()

    def _release(self, key: str) -> None:
        self._unconfirmed.discard(key)
        address = self._given.pop(key, None)
        if address is not None:
            self._pool.release(address)
            self._save()

    def _save(self) -> None:
        write_atomically(self._file, self._given)


def _key(purpose: _Purpose, service: Object) -> str:
    metadata = service["metadata"]
    return f"{purpose} {metadata['namespace']}/{metadata.get('name', '')}"
