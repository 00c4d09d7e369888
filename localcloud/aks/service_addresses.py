"""The addresses of Services, each kept until its Service goes.

The Kubernetes API asks for an address before it stores a Service, maybe more than once; that the Service went is heard of
later, from a watch. Addresses are therefore kept by the Service's name, also across restarts.
"""

import json
from pathlib import Path

from localcloud.aks.files import write_atomically
from localcloud.kubelet import AddressPool, Object


class ServiceAddresses:
    """Gives Services addresses of a pool; what it gave is kept in a file."""

    def __init__(self, pool: AddressPool, file: Path) -> None:
        self._pool = pool
        self._file = file
        self._given: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        for address in self._given.values():
            pool.reserve(address)
        self._unconfirmed = set(self._given)

    def allocate(self, service: Object) -> str:
        """The Service's address; the same one each time it is asked."""
        key = _key(service)
        if key not in self._given:
            self._given[key] = self._pool.allocate()
            self._save()
        self._unconfirmed.discard(key)
        return self._given[key]

    def seen(self, service: Object) -> None:
        """A Service is there, with the address it says."""
        key, address = _key(service), service["spec"].get("clusterIP")
        self._unconfirmed.discard(key)
        if not address or address == "None":
            self._release(key)
        elif self._given.get(key) != address and self._pool.reserve(address):
            self._release(key)
            self._given[key] = address
            self._save()

    def gone(self, service: Object) -> None:
        """A Service is no longer there."""
        self._release(_key(service))

    def all_seen(self) -> None:
        """Every Service that there is has been `seen` since the start: what was kept for others is free."""
        for key in list(self._unconfirmed):
            self._release(key)

    def _release(self, key: str) -> None:
        self._unconfirmed.discard(key)
        address = self._given.pop(key, None)
        if address is not None:
            self._pool.release(address)
            self._save()

    def _save(self) -> None:
        write_atomically(self._file, self._given)


def _key(service: Object) -> str:
    metadata = service["metadata"]
    return f"{metadata['namespace']}/{metadata.get('name', '')}"
