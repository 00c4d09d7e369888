"""The storage ports, as the adapter does them with Microsoft's SDK against the real Azurite."""

import asyncio
import base64
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceRequestError
from azure.storage.blob import BlobLeaseClient, BlobServiceClient, ContainerClient
from azure.storage.queue import QueueClient, QueueServiceClient

from deployer.adapters import blob_lease
from deployer.adapters.storage import (
    BlobDocuments,
    BlobServables,
    BlobUploads,
    StorageQueues,
    StorageRolloutQueue,
    storage_services,
)
from deployer.errors import Conflict, LeaseLost, SlipwayError, Unavailable
from deployer.ports import BlobRef


@dataclass(frozen=True)
class Account:
    """The adapters on a container of their own each, and the plain SDK's clients beside them."""

    documents: BlobDocuments
    uploads: BlobUploads
    servables: BlobServables
    queue: StorageRolloutQueue
    plain_documents: ContainerClient
    plain_uploads: ContainerClient
    plain_queue: QueueClient


class NoCredential:
    """Where a connection string is given, no token is ever asked for."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        raise AssertionError("no token was needed")


@pytest.fixture
def services(azurite: str) -> Iterator[tuple[BlobServiceClient, QueueServiceClient]]:
    blobs, queues = storage_services({"AzureWebJobsStorage": azurite}, NoCredential())
    with blobs, queues:
        yield blobs, queues


@pytest.fixture
def account(services: tuple[BlobServiceClient, QueueServiceClient], container_name: str) -> Iterator[Account]:
    blobs, queues = services
    state, drop, served = (blobs.create_container(f"{container_name}{part}") for part in "sdv")
    queue = queues.create_queue(container_name)
    with state, drop, served, queue:
        yield Account(
            BlobDocuments(state),
            BlobUploads(drop),
            BlobServables(served, drop),
            StorageRolloutQueue(queue),
            state,
            drop,
            queue,
        )


def dropped(account: Account, name: str, data: bytes = b"model") -> BlobRef:
    account.plain_uploads.upload_blob(name, data, overwrite=True)
    found = account.uploads.find(name)
    assert found is not None
    return found


# Documents ------------------------------------------------------------------------------------------------------------


def test_a_document_is_written_read_and_written_again_by_its_etag(account: Account) -> None:
    first = account.documents.write("models/cats.json", b"one", etag=None)
    stored = account.documents.read("models/cats.json")
    assert stored is not None and (stored.data, stored.etag) == (b"one", first)
    second = account.documents.write("models/cats.json", b"two", etag=first)
    assert second != first
    again = account.documents.read("models/cats.json")
    assert again is not None and (again.data, again.etag) == (b"two", second)


@pytest.mark.parametrize("prior", ["stale", "absent", "unexpected"])
def test_a_write_whose_condition_does_not_hold_is_a_conflict(account: Account, prior: str) -> None:
    first = account.documents.write("models/cats.json", b"one", etag=None)
    account.documents.write("models/cats.json", b"two", etag=first)
    if prior == "absent":
        account.documents.remove("models/cats.json")
    with pytest.raises(Conflict, match=r"models/cats\.json"):
        account.documents.write("models/cats.json", b"three", etag=None if prior == "unexpected" else first)
    stored = account.documents.read("models/cats.json")
    assert (stored and stored.data) == (None if prior == "absent" else b"two")


def test_of_two_that_write_at_once_one_wins(account: Account) -> None:
    etag = account.documents.write("cluster.json", b"0", etag=None)
    gate, won = threading.Barrier(8), []

    def write(number: int) -> None:
        gate.wait(10)
        try:
            account.documents.write("cluster.json", str(number).encode(), etag=etag)
        except Conflict:
            return
        won.append(str(number).encode())

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stored = account.documents.read("cluster.json")
    assert stored is not None and won == [stored.data]


def test_what_is_not_there_is_none_and_may_be_removed(account: Account) -> None:
    assert account.documents.read("models/dogs.json") is None
    account.documents.remove("models/dogs.json")
    account.documents.put("activity/cats/a", b"")
    account.documents.put("activity/cats/a", b"")
    account.documents.remove("activity/cats/a")
    assert account.documents.read("activity/cats/a") is None


def test_a_listing_is_by_prefix_and_tells_etag_size_and_time(account: Account) -> None:
    etag = account.documents.write("models/cats.json", b"12345", etag=None)
    account.documents.put("models/dogs.json", b"")
    account.documents.put("cluster.json", b"")
    cats, dogs = account.documents.listing("models/")
    assert (cats.name, cats.size, cats.etag) == ("models/cats.json", 5, etag.strip('"'))
    assert dogs.name == "models/dogs.json"
    assert cats.modified.tzinfo is not None


def test_a_listing_tells_the_metadata_that_was_written_last(account: Account) -> None:
    glance = '{"name":"cats","settled":false,"due":"2026-07-01T12:00:00Z"}'
    etag = account.documents.write("models/cats.json", b"1", etag=None, metadata={"glance": glance})
    (listed,) = account.documents.listing("models/")
    assert listed.metadata == {"glance": glance}
    account.documents.write("models/cats.json", b"2", etag=etag, metadata={"glance": "{}"})
    (listed,) = account.documents.listing("models/")
    assert listed.metadata == {"glance": "{}"}


def test_a_container_that_is_not_there_is_told_as_such(services: tuple[BlobServiceClient, QueueServiceClient]) -> None:
    with services[0].get_container_client("missing") as container:
        documents = BlobDocuments(container)
        with pytest.raises(Unavailable, match="list 'missing/'"):
            list(documents.listing(""))
        with pytest.raises(Unavailable, match="write 'a'"):
            documents.put("a", b"")


# Leases ---------------------------------------------------------------------------------------------------------------


def test_a_lease_is_held_by_one_and_free_again_after(account: Account) -> None:
    with account.documents.lease("cluster") as first:
        with account.documents.lease("cluster") as second:
            assert first is not None and second is None
        with account.documents.lease("upload-cats") as other:
            assert other
    with account.documents.lease("cluster") as again:
        assert again


def test_a_lease_runs_out_by_itself_should_its_holder_die(account: Account) -> None:
    with (
        account.documents.lease("cluster"),
        account.plain_documents.get_blob_client("locks/cluster") as blob,
    ):
        lease = blob.get_blob_properties().lease
        assert (lease.status, lease.state, lease.duration) == ("locked", "leased", "fixed")


def test_a_lease_is_given_back_when_the_work_fails(account: Account) -> None:
    with pytest.raises(ZeroDivisionError), account.documents.lease("cluster"):
        raise ZeroDivisionError
    with account.documents.lease("cluster") as again:
        assert again


def test_a_lease_outlives_its_duration_while_the_work_goes_on(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's shortest lease is 15 seconds, so the renewals are counted instead of waited for."""
    renewed = threading.Semaphore(0)
    renew = BlobLeaseClient.renew

    def counted(lease: BlobLeaseClient) -> None:
        renew(lease)
        renewed.release()

    monkeypatch.setattr(BlobLeaseClient, "renew", counted)
    monkeypatch.setattr(blob_lease, "_RENEWAL_SECONDS", 0.05)
    with account.documents.lease("cluster") as held:
        assert held
        assert all(renewed.acquire(timeout=20) for _ in range(3))
    with account.documents.lease("cluster") as again:
        assert again


def test_a_lease_that_is_held_is_renewed_by_its_check(account: Account) -> None:
    with account.documents.lease("cluster") as held:
        assert held is not None
        held.check()
        held.check()
        with account.documents.lease("cluster") as other:
            assert other is None


def test_the_check_of_a_lost_lease_says_so_even_when_it_is_free_again(account: Account) -> None:
    with account.documents.lease("cluster") as held:
        assert held is not None
        with account.plain_documents.get_blob_client("locks/cluster") as blob:
            BlobLeaseClient(blob).break_lease(lease_break_period=0)
        with account.documents.lease("cluster") as other:
            assert other is not None
            with pytest.raises(LeaseLost, match="locks/cluster"):
                held.check()
        with pytest.raises(LeaseLost):
            held.check()


def test_storage_that_does_not_answer_is_no_lost_lease(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def unanswered(_lease: BlobLeaseClient) -> None:
        raise ServiceRequestError("no route to host")

    with account.documents.lease("cluster") as held:
        assert held is not None
        with monkeypatch.context() as patched:
            patched.setattr(BlobLeaseClient, "renew", unanswered)
            with pytest.raises(Unavailable, match="no route to host"):
                held.check()
        held.check()


def test_a_lease_that_was_lost_ends_quietly(account: Account) -> None:
    with account.documents.lease("cluster") as held:
        assert held
        with account.plain_documents.get_blob_client("locks/cluster") as blob:
            BlobLeaseClient(blob).break_lease(lease_break_period=0)
        with account.documents.lease("cluster") as other:
            assert other
    with account.documents.lease("cluster") as again:
        assert again


# Uploads --------------------------------------------------------------------------------------------------------------


def test_an_upload_is_found_and_downloaded_as_it_was_looked_at(account: Account, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    blob = dropped(account, "cats.keras", data)
    assert (blob.name, blob.size) == ("cats.keras", len(data))
    account.uploads.download(blob, tmp_path / "cats.keras")
    assert (tmp_path / "cats.keras").read_bytes() == data
    assert next(iter(account.uploads.listing("cats"))) == blob
    assert account.uploads.find("dogs.keras") is None


@pytest.mark.parametrize("what", ["overwritten", "removed"])
def test_an_upload_that_changed_since_is_a_conflict(account: Account, tmp_path: Path, what: str) -> None:
    blob = dropped(account, "cats.keras")
    if what == "overwritten":
        dropped(account, "cats.keras", b"other")
    else:
        account.uploads.remove("cats.keras")
    with pytest.raises(Conflict, match=r"cats\.keras"):
        account.uploads.download(blob, tmp_path / "cats.keras")


def test_an_empty_upload_is_downloaded_too(account: Account, tmp_path: Path) -> None:
    account.uploads.download(dropped(account, "cats.keras", b""), tmp_path / "cats.keras")
    assert (tmp_path / "cats.keras").read_bytes() == b""


def test_tags_are_set_beside_those_of_others_and_leave_the_etag(account: Account) -> None:
    blob = dropped(account, "cats.keras")
    with account.plain_uploads.get_blob_client("cats.keras") as client:
        client.set_blob_tags({"team": "vision"})
        account.uploads.tag("cats.keras", {"slipway_state": "scanning", "slipway_version": "", "slipway_reason": ""})
        assert client.get_blob_tags() == {"team": "vision", "slipway_state": "scanning"}
        account.uploads.tag("cats.keras", {"slipway_state": "failed", "slipway_reason": "no model"})
        account.uploads.tag("cats.keras", {"slipway_state": "serving", "slipway_version": "2", "slipway_reason": ""})
        assert account.uploads.tags("cats.keras") == client.get_blob_tags()
        assert client.get_blob_tags() == {"team": "vision", "slipway_state": "serving", "slipway_version": "2"}
    assert account.uploads.find("cats.keras") == blob


def test_a_blob_that_is_gone_takes_no_tags(account: Account) -> None:
    account.uploads.tag("cats.keras", {"slipway_state": "failed"})
    assert account.uploads.find("cats.keras") is None
    assert account.uploads.tags("cats.keras") == {}


@pytest.mark.parametrize(
    "name", ["cats & dogs.keras", "größe.keras", "cats/variables/variables.index", "a#b?c%20d.zip"]
)
def test_any_blob_name_is_carried_as_it_is(account: Account, tmp_path: Path, name: str) -> None:
    blob = dropped(account, name, b"data")
    account.uploads.tag(name, {"slipway_state": "failed"})
    account.uploads.download(blob, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"data"
    assert [item.name for item in account.uploads.listing("")] == [name]


# Servables and the queue ----------------------------------------------------------------------------------------------


def test_a_servables_file_is_stored_replaced_and_read(account: Account, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"partial")
    account.servables.upload("cats/1/saved_model.pb", tmp_path / "file")
    (tmp_path / "file").write_bytes(b"whole")
    account.servables.upload("cats/1/saved_model.pb", tmp_path / "file")
    stored = account.servables.read("cats/1/saved_model.pb")
    assert stored is not None and stored.data == b"whole"
    assert [item.name for item in account.servables.listing("cats/1/")] == ["cats/1/saved_model.pb"]


def test_a_file_that_may_not_be_replaced_is_not(account: Account, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"first")
    account.servables.upload("cats/1/saved_model.pb", tmp_path / "file", replace=False)
    (tmp_path / "file").write_bytes(b"second")
    source = dropped(account, "cats/saved_model.pb", b"third")
    with pytest.raises(Conflict, match="there already"):
        account.servables.upload("cats/1/saved_model.pb", tmp_path / "file", replace=False)
    with pytest.raises(Conflict, match="there already"):
        account.servables.copy("cats/1/saved_model.pb", source, replace=False)
    stored = account.servables.read("cats/1/saved_model.pb")
    assert stored is not None and stored.data == b"first"


@pytest.mark.parametrize("name", ["cats/variables/variables.data-00000-of-00001", "größe & co/a b#c.txt"])
def test_storage_copies_an_uploads_file_itself(account: Account, name: str) -> None:
    data = bytes(range(256)) * 4096
    source = dropped(account, name, data)
    for _ in range(2):  # safe to repeat
        account.servables.copy("cats/1/variables/data", source)
    stored = account.servables.read("cats/1/variables/data")
    assert stored is not None and stored.data == data


@pytest.mark.parametrize("what", ["overwritten", "removed"])
def test_an_upload_that_changed_since_is_not_copied(account: Account, what: str) -> None:
    source = dropped(account, "cats/saved_model.pb")
    if what == "overwritten":
        dropped(account, "cats/saved_model.pb", b"other")
    else:
        account.uploads.remove("cats/saved_model.pb")
    with pytest.raises(Conflict, match=r"cats/saved_model\.pb"):
        account.servables.copy("cats/1/saved_model.pb", source)
    assert account.servables.read("cats/1/saved_model.pb") is None


def test_a_file_larger_than_a_block_goes_and_comes_in_several(account: Account, tmp_path: Path) -> None:
    """Memory is bounded by blocks of 8 MiB, not by the file."""
    data = os.urandom(1 << 20) * 20
    (tmp_path / "file").write_bytes(data)
    account.servables.upload("cats/1/data", tmp_path / "file")
    source = dropped(account, "cats/data", data)
    account.uploads.download(source, tmp_path / "again")
    stored = account.servables.read("cats/1/data")
    assert stored is not None and stored.data == data == (tmp_path / "again").read_bytes()


def test_messages_that_wait_are_counted(
    account: Account, services: tuple[BlobServiceClient, QueueServiceClient], container_name: str
) -> None:
    queues = StorageQueues(services[1])
    assert (queues.waiting(container_name), queues.waiting("no-such-queue")) == (0, None)
    account.queue.ask("cats")
    account.queue.ask("cats", delay_seconds=300)
    assert queues.waiting(container_name) == 2


def test_a_message_is_what_the_functions_host_decodes(account: Account) -> None:
    """The host expects base64 by default (host.json messageEncoding)."""
    account.queue.ask("cats")
    account.queue.ask("cats", chain="c1")
    told = [json.loads(base64.b64decode(message.content)) for message in account.plain_queue.receive_messages()]
    assert sorted(told, key=len) == [{"model": "cats"}, {"model": "cats", "chain": "c1"}]


def test_a_delayed_message_is_not_visible_yet(account: Account) -> None:
    account.queue.ask("cats", delay_seconds=300)
    assert account.plain_queue.receive_message() is None
    assert account.plain_queue.get_queue_properties().approximate_message_count == 1


# The account ----------------------------------------------------------------------------------------------------------


def test_an_account_is_named_by_the_functions_apps_own_settings() -> None:
    blobs, queues = storage_services({"AzureWebJobsStorage__accountName": "mine"}, NoCredential())
    with blobs, queues:
        assert blobs.url == "https://mine.blob.core.windows.net/"
        assert queues.url == "https://mine.queue.core.windows.net/"
    blobs, queues = storage_services(
        {
            "AzureWebJobsStorage__blobServiceUri": "https://b.example",
            "AzureWebJobsStorage__queueServiceUri": "https://q.example",
        },
        NoCredential(),
    )
    with blobs, queues:
        assert (blobs.url, queues.url) == ("https://b.example/", "https://q.example/")


@pytest.mark.parametrize("environment", [{}, {"AzureWebJobsStorage__blobServiceUri": "https://b.example"}])
def test_without_an_account_it_is_said_which_setting_is_missing(environment: dict[str, str]) -> None:
    with pytest.raises(SlipwayError, match="No storage account") as refused:
        storage_services(environment, NoCredential())
    assert "AzureWebJobsStorage" in refused.value.hint


async def test_the_adapters_may_be_called_from_many_threads(account: Account) -> None:
    """The proxy calls them through ``asyncio.to_thread``."""
    await asyncio.gather(
        *(asyncio.to_thread(account.documents.put, f"activity/cats/{number}", b"") for number in range(20))
    )
    assert len(list(account.documents.listing("activity/"))) == 20
