"""Pushing into real blob storage, followed through a function app that watches it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from deployer.cli.drop import drop_of
from deployer.cli.storage import DropContainer
from tests.functional.cli.command_line import Run, write_endpoints
from tests.functional.cli.fake_slipway import FakeSlipway, Reply

SERVED = {"version": 1, "state": "serving", "source": {}}


@pytest.fixture
def models(azurite: str) -> Iterator[ContainerClient]:
    with BlobServiceClient.from_connection_string(azurite) as service:
        yield service.create_container("models")


@pytest.fixture
def data(data: Path, slipway: FakeSlipway, azurite: str) -> Path:
    write_endpoints(data, slipway.url, azurite)
    return data


@pytest.fixture
def keras(tmp_path: Path) -> Path:
    path = tmp_path / "Cats_v2.keras"
    path.write_bytes(os.urandom(1000))
    return path


def _watching(models: ContainerClient, *uploads: dict[str, Any], **more: Any) -> Callable[[Any], Reply]:
    """A model whose newest upload is the blob that lies there now, and goes through these states."""
    left = list(uploads)

    def answer(_: Any) -> Reply:
        blobs = list(models.list_blobs(name_starts_with="cats-v2"))
        newest = next((blob for blob in blobs if blob.name.endswith((".keras", "saved_model.pb"))), None)
        if newest is None:
            return Reply(404, {"error": {"code": "no_model", "message": "none", "hint": ""}})
        state = left.pop(0) if len(left) > 1 else left[0]
        upload = {
            "blob": newest.name,
            "etag": newest.etag,
            "stage": None,
            "version": None,
            "reason": None,
            "hint": None,
        }
        document: dict[str, Any] = {
            "name": "cats-v2",
            "state": "rolling",
            "version": None,
            "desired": state.get("version"),
            "rollout": None,
            "versions": [],
            "timeline": [],
        }
        return Reply(200, document | {"upload": upload | state} | more)

    return answer


def _blobs(models: ContainerClient) -> list[str]:
    return [blob.name for blob in models.list_blobs()]


def test_a_file_and_what_lies_beside_it_arrive_whole(
    run: Run, data: Path, keras: Path, models: ContainerClient
) -> None:
    keras.with_name("Cats_v2.labels.txt").write_text("lynx\n")
    ended = run("--data", data, "push", keras, "--json")
    assert ended.status == 0
    assert ended.document["blob"] == "cats-v2.keras"
    assert ended.document["etag"] == models.get_blob_client("cats-v2.keras").get_blob_properties().etag.strip('"')
    assert models.download_blob("cats-v2.keras").readall() == keras.read_bytes()
    assert models.download_blob("cats-v2.labels.txt").readall() == b"lynx\n"


def test_labels_go_before_the_model(azurite: str, keras: Path, models: ContainerClient) -> None:
    keras.with_name("Cats_v2.labels.txt").write_text("lynx\n")
    sent: list[str] = []
    DropContainer(azurite).send(drop_of(keras, None), lambda file, _: sent.append(file.blob))
    assert list(dict.fromkeys(sent)) == ["cats-v2.labels.txt", "cats-v2.keras"] == sorted(_blobs(models), reverse=True)


def test_labels_that_are_the_same_are_not_sent_again(
    run: Run, data: Path, keras: Path, models: ContainerClient
) -> None:
    labels = keras.with_name("Cats_v2.labels.txt")
    labels.write_text("lynx\n")
    run("--data", data, "push", keras)
    before = models.get_blob_client("cats-v2.labels.txt").get_blob_properties().etag
    run("--data", data, "push", keras)
    assert models.get_blob_client("cats-v2.labels.txt").get_blob_properties().etag == before
    labels.write_text("lynx\ntabby\n")
    run("--data", data, "push", keras)
    assert models.download_blob("cats-v2.labels.txt").readall() == b"lynx\ntabby\n"


def test_a_large_file_goes_in_blocks(run: Run, data: Path, tmp_path: Path, models: ContainerClient) -> None:
    large = tmp_path / "cats-v2.keras"
    large.write_bytes(os.urandom(1 << 20) * 65)
    ended = run("--data", data, "push", large, "--json")
    assert ended.document["etag"] == models.get_blob_client("cats-v2.keras").get_blob_properties().etag.strip('"')
    assert models.get_blob_client("cats-v2.keras").get_blob_properties().size == 65 << 20


def test_a_directory_takes_the_place_of_the_one_before(
    run: Run, data: Path, tmp_path: Path, models: ContainerClient
) -> None:
    models.upload_blob("cats-v2/saved_model.pb", b"old")
    models.upload_blob("cats-v2/variables/variables.data-00000-of-00002", b"old")
    models.upload_blob("cats-v20/saved_model.pb", b"another model")
    folder = tmp_path / "cats-v2"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"new")
    (folder / "variables" / "variables.index").write_bytes(b"new")
    assert run("--data", data, "push", folder).status == 0
    assert _blobs(models) == ["cats-v2/saved_model.pb", "cats-v2/variables/variables.index", "cats-v20/saved_model.pb"]
    assert models.download_blob("cats-v2/saved_model.pb").readall() == b"new"


def test_waiting_ends_with_success_when_the_upload_serves(
    run: Run, data: Path, keras: Path, models: ContainerClient, slipway: FakeSlipway
) -> None:
    stage = {"stage": "convert", "started": "2026-03-01T12:00:00+00:00", "seconds": 3.21, "outcome": "done",
             "detail": "", "version": 1}  # fmt: skip
    slipway.answers["/api/models/cats-v2"] = _watching(
        models,
        {"state": "scanning"},
        {"state": "serving", "version": 1},
        version=1,
        versions=[SERVED],
        timeline=[stage],
    )
    ended = run("--data", data, "push", keras, "--wait")
    assert ended.status == 0
    assert ended.out.count("3.21 s") == 1
    assert "cats-v2 serves v1." in ended.out


def test_waiting_as_json_prints_the_outcome_with_its_stages(
    run: Run, data: Path, keras: Path, models: ContainerClient, slipway: FakeSlipway
) -> None:
    slipway.answers["/api/models/cats-v2"] = _watching(
        models, {"state": "serving", "version": 1}, version=1, versions=[SERVED]
    )
    document = run("--data", data, "push", keras, "--wait", "--json").document
    assert {name: document[name] for name in ("model", "state", "version", "known", "stages")} == {
        "model": "cats-v2", "state": "serving", "version": 1, "known": False, "stages": [],
    }  # fmt: skip


def test_the_same_bytes_again_are_said_to_serve_already(
    run: Run, data: Path, keras: Path, models: ContainerClient, slipway: FakeSlipway
) -> None:
    models.upload_blob("cats-v2.keras", keras.read_bytes())
    slipway.answers["/api/models/cats-v2"] = _watching(
        models, {"state": "serving", "version": 1}, version=1, versions=[SERVED]
    )
    ended = run("--data", data, "push", keras, "--wait")
    assert (ended.status, "already serving these very bytes as v1" in ended.out) == (0, True)


def test_a_refusal_ends_with_status_1_and_says_where_why_and_what_to_do(
    run: Run, data: Path, keras: Path, models: ContainerClient, slipway: FakeSlipway
) -> None:
    failed = {"state": "failed", "stage": "scan", "reason": "It is no zip archive.", "hint": "Save it again."}
    slipway.answers["/api/models/cats-v2"] = _watching(models, failed, version=4)
    ended = run("--data", data, "push", keras, "--wait")
    assert ended.status == 1
    assert "failed at scan: It is no zip archive. v4 goes on serving." in ended.err
    assert "Save it again." in ended.err
    machine = run("--data", data, "push", keras, "--wait", "--json")
    assert (machine.status, machine.document["error"]["stage"]) == (1, "scan")


def test_a_version_that_somebody_went_back_from_meanwhile_ends_with_status_1(
    run: Run, data: Path, keras: Path, models: ContainerClient, slipway: FakeSlipway
) -> None:
    slipway.answers["/api/models/cats-v2"] = _watching(
        models, {"state": "published", "version": 2}, version=1, desired=1
    )
    ended = run("--data", data, "push", keras, "--wait", "--json")
    error = ended.document["error"]
    assert (ended.status, error["code"], error["desired"]) == (1, "gone_back", 1)
    assert "Somebody commanded v1 of 'cats-v2' meanwhile" in error["message"]
    assert "slipway rollback cats-v2 --to 2" in error["hint"]


def test_a_model_that_is_removed_meanwhile_ends_with_status_1(
    run: Run, data: Path, keras: Path, models: ContainerClient, slipway: FakeSlipway
) -> None:
    followed = _watching(models, {"state": "converting"})
    looks: list[Any] = []

    def gone_after_a_look(request: Any) -> Reply:
        looks.append(request)
        none = Reply(404, {"error": {"code": "unknown_model", "message": "none", "hint": ""}})
        return followed(request) if len(looks) == 2 else none

    slipway.answers["/api/models/cats-v2"] = gone_after_a_look
    ended = run("--data", data, "push", keras, "--wait")
    assert ended.status == 1
    assert "'cats-v2' was removed meanwhile" in ended.err


def test_an_upload_that_is_not_done_in_time_ends_with_status_5(
    run: Run, data: Path, keras: Path, models: ContainerClient, slipway: FakeSlipway
) -> None:
    slipway.answers["/api/models/cats-v2"] = _watching(models, {"state": "converting"})
    ended = run("--data", data, "push", keras, "--wait", "--timeout", 0)
    assert ended.status == 5
    assert "converting" in ended.err
    assert "slipway status cats-v2" in ended.err


def test_without_the_container_the_error_names_the_account(run: Run, data: Path, keras: Path) -> None:
    ended = run("--data", data, "push", keras)
    assert ended.status == 3
    assert "no container 'models'" in ended.err


def test_a_storage_key_that_is_wrong_ends_with_status_3(
    run: Run, data: Path, keras: Path, azurite: str, models: ContainerClient
) -> None:
    parts = dict(part.split("=", 1) for part in azurite.split(";") if part)
    parts["AccountKey"] = "d3Jvbmc="
    wrong = ";".join(f"{name}={value}" for name, value in parts.items())
    ended = run("--data", data, "--storage", wrong, "push", keras)
    assert (ended.status, _blobs(models)) == (3, [])
    assert "does not let you write" in ended.err


def test_a_connection_string_that_is_none_is_a_usage_error(run: Run, data: Path, keras: Path) -> None:
    ended = run("--data", data, "--storage", "nonsense", "push", keras)
    assert ended.status == 2
    assert "connection string" in ended.err


def test_nothing_is_sent_of_what_can_be_no_model(run: Run, data: Path, tmp_path: Path, models: ContainerClient) -> None:
    wrong = tmp_path / "cats.pt"
    wrong.write_bytes(b"x")
    ended = run("--data", data, "push", wrong)
    assert (ended.status, _blobs(models)) == (2, [])
    assert ".keras" in ended.err
