"""The local cloud as one: its parts together, its folder, and its end, however it comes."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from localcloud.cloud import LocalCloud, Options, run
from localcloud.endpoints import Endpoints
from localcloud.errors import DataFolderError, ProcessEndedError
from localcloud.settings import Cluster, app_settings
from tests import hosts

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="what is left running is looked up in /proc")

APP = """
@app.blob_trigger(arg_name="client", path="models/{name}", connection="AzureWebJobsStorage", source="EventGrid")
def uploaded(client: blob.BlobClient):
    record(name=client.blob_name, word=os.environ["WORD"], secret=os.environ.get("AZURE_CLIENT_SECRET"))

@app.route(route="health", auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("ok")
"""
SUPERVISE = """
import asyncio, sys
from pathlib import Path
from localcloud.cloud import Options, run
from localcloud.errors import LocalCloudError

data, app = map(Path, sys.argv[1:])
try:
    asyncio.run(run(Options(data, app, aks=False), ready=lambda endpoints: print("ready", flush=True)))
except LocalCloudError as error:
    sys.exit(str(error))
"""


def options(folder: Path, source: str = APP) -> Options:
    app = hosts.write_app(folder / "app", source)
    return Options(
        data=folder / "data",
        app=app,
        aks=False,
        settings={"RECORD": str(folder / "records.jsonl"), "WORD": "hello"},
        functions_arguments=["--blob-poll-seconds", "0.2"],
    )


def processes_of(folder: Path) -> list[str]:
    """The command lines of every process that names the folder; Azurite and the hosts all do."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(folder) in command:
                    found.append(command)
    return found


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs a local cloud, once that is ready."""
    settings = options(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(settings.data), str(settings.app)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WORD": "hello", "RECORD": str(tmp_path / "records.jsonl")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


async def test_an_upload_reaches_the_app_and_the_app_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "a developer's own")
    stages: list[str] = []
    async with LocalCloud(options(tmp_path), lambda stage, seconds: stages.append(stage)) as cloud:
        assert stages == ["storage", "containers", "functions"]
        endpoints = cloud.endpoints
        with BlobServiceClient.from_connection_string(endpoints.storage_connection_string) as blobs:
            assert {"models", "servables", "slipway"} <= {container.name for container in blobs.list_containers()}
            blobs.get_blob_client("models", "cats.keras").upload_blob(b"weights")
        with QueueServiceClient.from_connection_string(endpoints.storage_connection_string) as queues:
            assert "rollouts" in [queue.name for queue in queues.list_queues()]
        async with aiohttp.ClientSession() as session, session.get(f"{endpoints.functions_url}/api/health") as answer:
            assert await answer.text() == "ok"
        records = tmp_path / "records.jsonl"
        await hosts.until(records.exists, what="the upload to be seen")
        assert json.loads(records.read_text()) == {"name": "cats.keras", "word": "hello", "secret": None}
    assert processes_of(tmp_path) == []


async def test_the_endpoints_are_in_a_private_file_while_the_cloud_is_ready(tmp_path: Path) -> None:
    file = tmp_path / "data" / "endpoints.json"
    file.parent.mkdir()
    file.write_text('{"functions_url": "http://left.behind"}')
    while_starting: list[bool] = []
    async with LocalCloud(options(tmp_path), lambda stage, seconds: while_starting.append(file.exists())) as cloud:
        assert while_starting == [False, False, False]
        written = json.loads(file.read_text())
        assert Endpoints(**written) == cloud.endpoints
        assert set(written) == {
            "functions_url", "function_key", "master_key", "storage_connection_string",
            "kubernetes_url", "kubernetes_token", "kubectl_url", "arm_url", "dashboard_url",
        }  # fmt: skip
        assert file.stat().st_mode & 0o777 == 0o600
    assert not file.exists()


async def test_a_second_cloud_on_the_same_folder_is_refused_and_the_first_lives_on(tmp_path: Path) -> None:
    settings = options(tmp_path)
    async with LocalCloud(settings) as cloud:
        with pytest.raises(DataFolderError, match=f"uses {settings.data} \\(process {os.getpid()}\\).*--data DIR"):
            async with LocalCloud(settings):
                pytest.fail("it started")
        assert (settings.data / "endpoints.json").exists()
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{cloud.endpoints.functions_url}/api/health") as answer,
        ):
            assert answer.status == 200


async def test_an_app_that_does_not_start_ends_everything_and_its_log_is_shown(tmp_path: Path) -> None:
    with pytest.raises(ProcessEndedError) as caught:
        async with LocalCloud(options(tmp_path, "import no_such_module")):
            pytest.fail("it started")
    log = tmp_path / "data" / "logs" / "functions.log"
    assert f"functions ended with status 1. Its log, {log}, ends with:" in str(caught.value)
    assert "No module named 'no_such_module'" in str(caught.value)
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "data" / "endpoints.json").exists()


async def test_a_part_that_ends_by_itself_ends_the_rest_and_is_named(tmp_path: Path) -> None:
    def kill_host(endpoints: Endpoints) -> None:
        os.kill(json.loads((tmp_path / "data" / "run" / "functions.json").read_text())["pid"], signal.SIGKILL)

    with pytest.raises(ProcessEndedError, match="functions was ended by SIGKILL"):
        await run(options(tmp_path), ready=kill_host)
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "data" / "endpoints.json").exists()


async def test_sigterm_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    """The signal comes when Azurite has started and the host has not."""

    def stop(stage: str, seconds: float) -> None:
        if stage == "storage":
            os.kill(os.getpid(), signal.SIGTERM)

    await run(options(tmp_path), progress=stop)
    assert processes_of(tmp_path) == []


async def test_a_second_cancellation_does_not_cut_the_end_short(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def live() -> None:
        async with LocalCloud(options(tmp_path)):
            started.set()
            await asyncio.Event().wait()

    life = asyncio.create_task(live())
    await started.wait()
    for _ in range(2):
        life.cancel()
        await asyncio.sleep(0.02)
    assert not life.done()
    await asyncio.wait([life])
    assert life.cancelled()
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_process_and_the_exit_status_is_0(
    supervisor: "subprocess.Popen[str]", tmp_path: Path, number: signal.Signals
) -> None:
    assert len(processes_of(tmp_path)) == 3
    supervisor.send_signal(number)
    _, errors = supervisor.communicate(timeout=60)
    assert (supervisor.returncode, errors) == (0, "")
    assert processes_of(tmp_path) == []
    assert not (tmp_path / "data" / "endpoints.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_killed_supervisor_leaves_no_process_and_the_next_start_has_the_state(
    supervisor: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    settings = options(tmp_path)
    before = json.loads((settings.data / "endpoints.json").read_text())
    with BlobServiceClient.from_connection_string(before["storage_connection_string"]) as blobs:
        blobs.get_blob_client("servables", "cats/1/saved_model.pb").upload_blob(b"kept")
    supervisor.kill()
    supervisor.wait(timeout=60)

    async def start_again() -> None:
        async with LocalCloud(settings) as cloud:  # waits for the children of the killed one
            assert len(processes_of(tmp_path)) == 2
            after = cloud.endpoints
            assert (after.function_key, after.master_key) == (before["function_key"], before["master_key"])
            with BlobServiceClient.from_connection_string(after.storage_connection_string) as again:
                assert again.get_blob_client("servables", "cats/1/saved_model.pb").download_blob().readall() == b"kept"

    asyncio.run(start_again())
    assert processes_of(tmp_path) == []


def test_the_apps_settings_come_from_the_cluster_and_the_callers_win() -> None:
    fields = {name: f"the {name}" for name in Cluster.__dataclass_fields__}
    settings = app_settings("connection", Cluster(**fields), {"SLIPWAY_CLUSTER__NAME": "mine", "IDENTITY_HEADER": ""})
    assert settings["AzureWebJobsStorage"] == "connection"
    assert settings["SLIPWAY_CLUSTER__GPU_POOL"] == "the gpu_pool"
    assert settings["SLIPWAY_CLUSTER__NAME"] == "mine"
    assert "IDENTITY_HEADER" not in settings
