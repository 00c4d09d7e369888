"""The process of a conversion's Job on the real Azurite: its exit status, its last words, and how it ends when it is told to."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from deployer.adapters.storage import BlobDocuments
from deployer.record import ModelRecord, UploadStatus
from deployer.state import State

ROOT = Path(__file__).parents[3]
JOB = "export-cats-1"


@contextlib.contextmanager
def process(storage: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "AzureWebJobsStorage": storage}
    command = [sys.executable, "-m", "deployer.export_job", "--upload=cats", f"--job={JOB}"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def state(azurite: str) -> Iterator[State]:
    """The state container, and an upload whose record names another Job."""
    with BlobServiceClient.from_connection_string(azurite) as service:
        for name in ("models", "servables", "slipway"):
            service.create_container(name).close()
        with service.get_blob_client("models", "cats.keras") as blob:
            blob.upload_blob(b"a model")
            etag = blob.get_blob_properties().etag
        with service.get_container_client("slipway") as container:
            state = State(BlobDocuments(container), lambda: datetime.now(UTC))
            now = datetime.now(UTC)
            status = UploadStatus(
                blob="cats.keras", etag=str(etag), fingerprint="f", state="converting", at=now, job="export-cats-2"
            )
            state.restore(ModelRecord(name="cats", updated=now, upload=status))
            yield state


def test_what_is_another_jobs_is_left_alone(azurite: str, state: State) -> None:
    before = state.model("cats")
    with process(azurite) as job:
        output, _ = job.communicate(timeout=100)
    assert job.returncode == 0, output
    assert f"'cats' is not for the Job {JOB} any more" in output
    assert state.model("cats") == before


def test_storage_that_is_not_there_is_its_last_word(azurite: str) -> None:
    """Its containers do not exist. It is the last line that is shown of a pod's log."""
    with process(azurite) as job:
        output, _ = job.communicate(timeout=100)
    assert job.returncode == 1
    assert output.splitlines()[-1].startswith("storage: Storage did not do this: lease 'locks/upload-cats'")


@pytest.mark.usefixtures("state")
def test_told_to_end_it_ends(azurite: str) -> None:
    """While it waits for the lease, which somebody else holds."""
    with (
        BlobServiceClient.from_connection_string(azurite) as service,
        service.get_container_client("slipway") as held,
        BlobDocuments(held).lease("upload-cats") as lease,
        process(azurite) as job,
    ):
        assert lease is not None
        assert job.stdout is not None and "another instance holds 'cats'; waiting" in job.stdout.readline()
        job.send_signal(signal.SIGTERM)
        assert job.wait(60) == 128 + signal.SIGTERM
