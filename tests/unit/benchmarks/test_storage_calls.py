"""Storage calls are counted as the SDK logs them, by kind, and only within the block."""

import pytest
from azure.storage.blob import BlobLeaseClient, BlobServiceClient

from benchmarks.storage_calls import counted, kind_of


def logged(method: str, url: str, *headers: str) -> str:
    return "\n".join([f"Request URL: '{url}'", f"Request method: '{method}'", "Request headers:", *headers])


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (logged("GET", "http://x/account/state/models/cats.json"), "read"),
        (logged("GET", "http://x/account/state?restype=REDACTED&comp=REDACTED&prefix=REDACTED"), "list"),
        (logged("GET", "http://x/account/drop/cats.keras?comp=REDACTED"), "tags"),
        (logged("PUT", "http://x/account/state/models/cats.json"), "write"),
        (logged("PUT", "http://x/a/locks/cats?comp=REDACTED", "    'x-ms-lease-action': 'REDACTED'"), "lease"),
        (logged("HEAD", "http://x/account/drop/cats.keras"), "look"),
        (logged("DELETE", "http://x/account/drop/cats.keras"), "remove"),
        (logged("POST", "http://x/account/rollouts/messages?visibilitytimeout=REDACTED"), "queue"),
    ],
)
def test_a_request_is_told_by_its_kind(message: str, kind: str) -> None:
    assert kind_of(message) == kind


def test_each_call_within_the_block_is_counted_once(azurite: str, container_name: str) -> None:
    with BlobServiceClient.from_connection_string(azurite) as service, counted() as calls:
        container = service.create_container(container_name)
        container.upload_blob("a", b"1")
        lease = BlobLeaseClient(container.get_blob_client("a"))
        lease.acquire()
        lease.release()
        assert [blob.name for blob in container.list_blobs()] == ["a"]
        assert container.download_blob("a").readall() == b"1"
        found = dict(calls)
        container.delete_blob("a")
    assert found == {"write": 2, "lease": 2, "list": 1, "read": 1}
    assert calls["remove"] == 1
