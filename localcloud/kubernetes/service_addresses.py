"""Cluster addresses and node ports of Services."""

import ipaddress
import json
import random
from collections.abc import Callable

from localcloud.kubernetes.errors import invalid, wrong
from localcloud.kubernetes.objects import Object, name_of, namespace_of
from localcloud.kubernetes.resources import SERVICES, Resource
from localcloud.kubernetes.store import Store

Allocate = Callable[[Object], str]
"""Gives a Service the address under which it is reached; it may be asked again for the same Service."""

_RANGE = ipaddress.ip_network("10.0.0.0/16")
_NODE_PORTS = range(30000, 32768)


class ServiceAddresses:
    """Gives Services their ``clusterIP`` and node ports.

    With ``allocate``, addresses are its; without, they are drawn from 10.0.0.0/16, where nothing listens.
    """

    def __init__(self, store: Store, allocate: Allocate | None) -> None:
        self._store = store
        self._allocate = allocate

    def assign(self, resource: Resource, item: Object, existing: Object | None) -> None:
        """Completes a Service that is created, or changed from ``existing``. Raises ApiError (422)."""
        if resource is not SERVICES or item["spec"]["type"] == "ExternalName":
            return
        spec = item["spec"]
        if existing is None and spec.get("clusterIP"):
            self._check_wish(item, spec["clusterIP"])
        if not spec.get("clusterIP"):
            spec["clusterIP"] = self._allocate(item) if self._allocate is not None else self._draw()
        if existing is None or not spec.get("clusterIPs") or existing["spec"].get("clusterIP") != spec["clusterIP"]:
            spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["type"] in ("LoadBalancer", "NodePort"):
            self._assign_ports(spec, existing)
        if spec["type"] != "LoadBalancer" and existing is not None and existing["spec"]["type"] == "LoadBalancer":
            item["status"] = {"loadBalancer": {}}

    def _check_wish(self, item: Object, address: str) -> None:
        if address == "None":
            return
        why = ""
        if any(other["spec"].get("clusterIP") == address for other in self._others(item)):
            why = "provided IP is already allocated"
        elif self._allocate is not None or ipaddress.ip_address(address) not in _RANGE:
            why = "the provided network does not match the current range"
        if why:
            why = f"failed to allocate IP {address}: {why}"
            cause = wrong("spec.clusterIPs", json.dumps([address]), why)
            raise invalid(SERVICES.subject(item["metadata"].get("name", "")), [cause])

    def _others(self, item: Object) -> list[Object]:
        own = (namespace_of(item), item["metadata"].get("name", ""))
        return [other for other in self._store.objects(SERVICES) if (namespace_of(other), name_of(other)) != own]

    def _draw(self) -> str:
        taken = {service["spec"].get("clusterIP") for service in self._store.objects(SERVICES)}
        while (address := str(_RANGE[random.randrange(10, 65000)])) in taken:  # noqa: S311  (not a secret)
            pass
        return address

    def _assign_ports(self, spec: Object, existing: Object | None) -> None:
        had = {
            (port["port"], port.get("protocol")): port["nodePort"]
            for port in (existing or {"spec": {}})["spec"].get("ports") or []
            if "nodePort" in port
        }
        taken = {
            port["nodePort"]
            for service in self._store.objects(SERVICES)
            for port in service["spec"].get("ports") or []
            if "nodePort" in port
        }
        for port in spec.get("ports") or []:
            if "nodePort" not in port:
                free = (number for number in iter(lambda: random.choice(_NODE_PORTS), None) if number not in taken)  # noqa: S311
                port["nodePort"] = had.get((port["port"], port["protocol"])) or next(free)
                taken.add(port["nodePort"])
