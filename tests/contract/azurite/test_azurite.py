"""Azurite as the local cloud starts it, through the SDKs that the product uses."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

import localcloud
from localcloud import azurite as azurite_module
from localcloud.errors import ProcessEndedError


def test_blobs_have_tags_that_leave_the_etag_alone_and_conditions_that_hold(azurite: str, container_name: str) -> None:
    """What the product's records and upload states rest on."""
    container = BlobServiceClient.from_connection_string(azurite).create_container(container_name)
    blob = container.get_blob_client("cats.keras")
    blob.upload_blob(b"weights")
    etag = blob.get_blob_properties().etag
    blob.set_blob_tags({"slipway_state": "serving", "slipway_version": "3"})
    assert blob.get_blob_tags() == {"slipway_state": "serving", "slipway_version": "3"}
    assert blob.get_blob_properties().etag == etag
    blob.upload_blob(b"newer", overwrite=True)
    with pytest.raises(ResourceModifiedError):
        blob.delete_blob(etag=etag, match_condition=MatchConditions.IfNotModified)


def test_accounts_do_not_see_each_other(azurite_server: azurite_module.Azurite, container_name: str) -> None:
    one, other = (
        BlobServiceClient.from_connection_string(azurite_server.connection_string(account))
        for account in ("test0", "test1")
    )
    one.create_container(container_name)
    assert container_name in [container.name for container in one.list_containers()]
    assert container_name not in [container.name for container in other.list_containers()]


async def test_a_second_start_on_the_same_folder_has_the_same_key_and_content(tmp_path: Path) -> None:
    first = await azurite_module.start(tmp_path / "data", tmp_path / "azurite.log")
    try:
        QueueServiceClient.from_connection_string(first.connection_string()).create_queue("rollouts").send_message(
            "kept"
        )
    finally:
        assert await first.stop() == 0
    second = await azurite_module.start(tmp_path / "data", tmp_path / "azurite.log")
    try:
        queue = QueueServiceClient.from_connection_string(second.connection_string()).get_queue_client("rollouts")
        assert [message.content for message in queue.receive_messages()] == ["kept"]
    finally:
        assert await second.stop() == 0
    assert (tmp_path / "data" / "account.json").stat().st_mode & 0o077 == 0
    key = json.loads((tmp_path / "data" / "account.json").read_text())["key"]
    assert dict(first.accounts) == dict(second.accounts) == {"slipwaylocal": key}


async def test_a_second_sigterm_does_not_keep_it_from_writing_what_it_has(tmp_path: Path) -> None:
    """Linux sends two to the child of a process with several threads that is killed."""
    first = await azurite_module.start(tmp_path / "data", tmp_path / "azurite.log")
    BlobServiceClient.from_connection_string(first.connection_string()).create_container("models")
    for _ in range(2):
        os.kill(first.process.pid, signal.SIGTERM)
        await asyncio.sleep(0.002)
    assert await asyncio.wait_for(first.process.wait(), 60) == 0
    second = await azurite_module.start(tmp_path / "data", tmp_path / "azurite.log")
    try:
        containers = BlobServiceClient.from_connection_string(second.connection_string()).list_containers()
        assert [container.name for container in containers] == ["models"]
    finally:
        await second.stop()


async def test_a_port_that_is_taken_is_an_error_with_azurites_own_words(
    tmp_path: Path, azurite_server: azurite_module.Azurite
) -> None:
    port = int(azurite_server.blob_url.rpartition(":")[2])
    with pytest.raises(ProcessEndedError, match="EADDRINUSE"):
        await azurite_module.start(tmp_path / "data", tmp_path / "azurite.log", blob_port=port)


def test_without_node_modules_the_error_says_to_run_make(tmp_path: Path) -> None:
    """In a copy of the package, as in a clone in which make has not run."""
    shutil.copytree(
        Path(localcloud.__file__).parent, tmp_path / "localcloud", ignore=shutil.ignore_patterns("__pycache__")
    )
    find = "from localcloud import azurite; print(azurite.find_node()); azurite.find_azurite()"
    run = subprocess.run(
        [sys.executable, "-P", "-c", find],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout.strip().endswith("node")
    assert f"There is no Azurite at {tmp_path / 'node_modules'}" in run.stderr
    assert f"Run make in {tmp_path}" in run.stderr
