"""A lease on a blob of the state container, renewed while it is held.

The lease runs for 30 s and is renewed every 10 s; after a crash it is free again within 30 s.
"""

import contextlib
import threading
import uuid
from collections.abc import Iterator

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobLeaseClient

from deployer.errors import LeaseLost, Unavailable

_LEASE_SECONDS = 30
_RENEWAL_SECONDS = 10.0


class BlobLease:
    """A lease that is held. Implements ``Lease``; once it was lost it stays lost, whoever holds it then."""

    def __init__(self, client: BlobLeaseClient, name: str) -> None:
        self._client = client
        self._name = name
        self._lost = threading.Event()
        self._ended = threading.Event()

    def check(self) -> None:
        """Renews it, which storage does for its holder alone."""
        try:
            held = self._renew()
        except AzureError as error:
            raise Unavailable(
                "storage", f"Storage did not renew the lease '{self._name}' ({error}).", "It is tried again."
            ) from error
        if not held:
            raise LeaseLost("lease_lost", f"'{self._name}' is not ours any more.", "Another instance goes on with it.")

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews it for the block, and gives it back at its end."""
        renewer = threading.Thread(target=self._renew_until_ended, name=f"lease-{self._name}", daemon=True)
        renewer.start()
        try:
            yield
        finally:
            self._ended.set()
            renewer.join(timeout=_LEASE_SECONDS)
            with contextlib.suppress(AzureError):  # it runs out by itself
                self._client.release()

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(_RENEWAL_SECONDS):
            try:
                if not self._renew():
                    return
            except AzureError:
                continue  # tried again before the lease runs out

    def _renew(self) -> bool:
        if not self._lost.is_set():
            try:
                self._client.renew()
            except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
                self._lost.set()
        return not self._lost.is_set()


def acquire(blob: BlobClient) -> BlobLease | None:
    """The lease on this blob, which is made if there is none; None where another holds it."""
    with contextlib.suppress(ResourceExistsError, ResourceModifiedError):  # there already, perhaps leased
        blob.upload_blob(b"", overwrite=False)
    client = BlobLeaseClient(blob, lease_id=str(uuid.uuid4()))
    try:
        client.acquire(lease_duration=_LEASE_SECONDS)
    except HttpResponseError as error:
        if error.status_code != 409:
            raise
        return None
    return BlobLease(client, blob.blob_name)
