"""Which address and port leads to which pods, from Services and EndpointSlices. Pure."""

from collections.abc import Iterable

from localcloud.kubelet import Object

Endpoint = tuple[str, int]


def routes(services: Iterable[Object], slices: Iterable[Object]) -> dict[Endpoint, list[Endpoint]]:
    """For each TCP port of each Service's addresses the ready endpoints behind it; ports without any are left out."""
    behind: dict[tuple[str, str], list[Object]] = {}
    for each in slices:
        metadata = each["metadata"]
        owner = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
        if owner is not None:
            behind.setdefault((metadata["namespace"], owner), []).append(each)
    found: dict[Endpoint, list[Endpoint]] = {}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        for port in spec.get("ports") or []:
            if port.get("protocol", "TCP") != "TCP":
                continue
            targets = _targets(behind.get((metadata["namespace"], metadata["name"]), []), port.get("name") or "")
            if targets:
                found |= {(address, port["port"]): targets for address in addresses(service)}
    return found


def addresses(service: Object) -> list[str]:
    """The addresses a Service answers on: its cluster address and its load balancer's."""
    own = service["spec"].get("clusterIP")
    balancer = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    found = [own, *(each.get("ip") for each in balancer)]
    return [address for address in found if address and address != "None"]


def _targets(slices: list[Object], port_name: str) -> list[Endpoint]:
    return [
        (address, port["port"])
        for each in slices
        for port in each.get("ports") or []
        if (port.get("name") or "") == port_name
        for endpoint in each.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready", True)
        for address in endpoint.get("addresses") or []
    ]
