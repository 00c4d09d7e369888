"""The use cases on the real Azurite: what the small world's storage promises, the real one keeps.

The exporter and the cluster are those of the small world, for they are not what this is about.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import ContainerClient

from deployer.adapters.storage import BlobDocuments, BlobServables, BlobUploads, storage_services
from deployer.state import State
from tests.deployed import Deployed
from tests.unit.deployer.bundles import bundle_index, saved_model

PB, INDEX = "cats/saved_model.pb", "cats/variables/variables.index"
DATA = "cats/variables/variables.data-00000-of-00001"


class NoCredential:
    """Where a connection string is given, no token is ever asked for."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        raise AssertionError("no token was needed")


@pytest.fixture
def containers(azurite: str, container_name: str) -> Iterator[dict[str, ContainerClient]]:
    blobs, queues = storage_services({"AzureWebJobsStorage": azurite}, NoCredential())
    made = {part: blobs.create_container(f"{container_name}{part}") for part in ("state", "drop", "served")}
    with blobs, queues:
        yield made


@pytest.fixture
def deployed(containers: dict[str, ContainerClient]) -> Deployed:
    """The application with real storage; its clock begins at the real time, as blobs have it."""
    deployed = Deployed()
    deployed.world.now = datetime.now(UTC)
    documents = BlobDocuments(containers["state"])
    deployed.documents = documents  # type: ignore[assignment]  # the real thing in the fake's place
    deployed.store = BlobUploads(containers["drop"])  # type: ignore[assignment]
    deployed.servables = BlobServables(containers["served"], containers["drop"])  # type: ignore[assignment]
    deployed.state = State(documents, deployed.world.clock)
    deployed.restart()
    return deployed


def drop(containers: dict[str, ContainerClient], *names: str) -> None:
    contents = {
        PB: saved_model(variables=True), INDEX: bundle_index({0: 300}), DATA: b"x" * 300, "dogs.keras": b"dog",
    }  # fmt: skip
    for name in names:
        containers["drop"].upload_blob(name, contents[name], overwrite=True)


def versions(deployed: Deployed, model: str) -> list[tuple[int, str]]:
    return [(item.version, item.state) for item in deployed.record(model).versions]


def test_a_directory_is_published_by_copies_and_its_state_is_told_where_the_user_is(
    deployed: Deployed, containers: dict[str, ContainerClient]
) -> None:
    drop(containers, PB, INDEX)
    deployed.uploads.take(INDEX)
    assert deployed.store.tags(PB)["slipway_state"] == "receiving"
    drop(containers, DATA)
    for _ in range(2):  # its event comes twice
        deployed.uploads.take(DATA)
    assert versions(deployed, "cats") == [(1, "published")]
    assert deployed.store.tags(PB)["slipway_state"] == "published"
    for path in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        copied = containers["served"].get_blob_client(f"cats/1/{path}").get_blob_properties().copy
        assert copied.status == "success" and str(copied.source).endswith(path)
    assert deployed.exporter.conversions == 1


def test_a_listing_tells_the_sweep_all_that_it_must_know(
    deployed: Deployed, containers: dict[str, ContainerClient]
) -> None:
    """What it must know comes with the listing: settled, fingerprint, state and when it is due."""
    drop(containers, "dogs.keras")
    deployed.uploads.take("dogs.keras")
    (glance,) = deployed.state.glances()
    upload = deployed.record("dogs").upload
    assert upload is not None
    assert (glance.settled, glance.upload, glance.fingerprint) == (False, "published", upload.fingerprint)
    deployed.world.pass_time(600)
    deployed.sweep.run()
    assert [message.model for message in deployed.queue.messages] == ["dogs", "dogs"]  # published, and stalled since
    assert deployed.exporter.conversions == 1


def test_a_lost_state_container_is_made_anew_and_nothing_is_converted_again(
    deployed: Deployed, containers: dict[str, ContainerClient]
) -> None:
    drop(containers, "dogs.keras", PB, INDEX, DATA)
    for blob in ("dogs.keras", PB):
        deployed.uploads.take(blob)
    identities = {name: deployed.record(name).versions[0].identity for name in ("cats", "dogs")}
    for blob in list(containers["state"].list_blob_names()):
        containers["state"].delete_blob(blob)
    answer = deployed.doctor.repair()
    assert (answer["repaired"], answer["healthy"]) == (["cats", "dogs"], True)
    for name, identity in identities.items():
        record = deployed.record(name)
        assert [item.identity for item in record.versions] == [identity]
        assert (record.desired, record.asleep, record.next_version) == (1, True, 2)
    deployed.world.pass_time(600)
    deployed.sweep.run()
    deployed.uploads.take("dogs.keras")
    assert deployed.exporter.conversions == 2


def test_a_removed_model_leaves_its_number_and_its_history(
    deployed: Deployed, containers: dict[str, ContainerClient]
) -> None:
    drop(containers, "dogs.keras", PB, INDEX, DATA)
    for blob in ("dogs.keras", PB):
        deployed.uploads.take(blob)
    assert deployed.control.remove("cats", uploads=True)["removed"] is True
    assert list(containers["drop"].list_blob_names()) == ["dogs.keras"]
    assert {name.split("/")[0] for name in containers["served"].list_blob_names()} == {"dogs"}
    drop(containers, PB, INDEX, DATA)
    deployed.uploads.take(PB)
    assert versions(deployed, "cats") == [(2, "published")]


def test_while_one_instance_is_at_work_another_leaves(
    deployed: Deployed, containers: dict[str, ContainerClient]
) -> None:
    drop(containers, "dogs.keras")
    deployed.exporter.during = lambda: deployed.uploads.take("dogs.keras")
    deployed.uploads.take("dogs.keras")
    assert (versions(deployed, "dogs"), deployed.exporter.conversions) == ([(1, "published")], 1)
