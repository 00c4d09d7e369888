"""The local cloud: Azurite → containers and queues → AKS stand-in → Functions host, run as one.

One folder (``.slipway``) keeps everything: storage, the cluster's state, keys, logs. A start after a kill picks it up.

    async with LocalCloud(Options(data=Path(".slipway"))) as cloud:
        print(cloud.endpoints.functions_url)
        await cloud.watch()
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from localcloud import azurite, endpoints
from localcloud.endpoints import Endpoints
from localcloud.errors import DataFolderError, ProcessEndedError
from localcloud.settings import Cluster, app_settings, inherited
from localcloud.supervisor import Supervisor

REPOSITORY = Path(__file__).resolve().parents[1]
CONTAINERS = ("models", "servables", "slipway")
QUEUES = ("rollouts", "operations")

_READY_SECONDS = 90.0
_GRACE_SECONDS = 15.0
_STORAGE_SECONDS = 30.0

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Options:
    """What to run. ``settings`` are app settings that win over the local cloud's own; port 0 takes a free one.

    ``aks`` and ``functions`` leave a part out; ``aks_arguments`` and ``functions_arguments`` are added to the
    commands, for delays, faults and polling intervals.
    """

    data: Path = Path(".slipway")
    app: Path = REPOSITORY
    settings: Mapping[str, str] = field(default_factory=dict)
    aks: bool = True
    functions: bool = True
    functions_port: int = 0
    blob_port: int = 0
    queue_port: int = 0
    table_port: int = 0
    aks_arguments: Sequence[str] = ()
    functions_arguments: Sequence[str] = ()


class LocalCloud:
    """A local cloud in one folder; use it as an asynchronous context, in the main thread."""

    def __init__(self, options: Options, progress: Progress = lambda stage, seconds: None) -> None:
        """``progress`` is called with the name of each stage and its seconds, once it has succeeded."""
        self._options = options
        self._data = options.data.resolve()
        self._progress = progress
        self._folder = _Folder(self._data)
        self._supervisor = Supervisor(self._data)
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where it can be reached."""
        if self._endpoints is None:
            raise RuntimeError("The local cloud has not been started.")
        return self._endpoints

    async def __aenter__(self) -> Self:
        """Starts every part and writes ``endpoints.json``.

        Raises:
            LocalCloudError: a part is missing or did not start, or the folder is in use; nothing is left running.
        """
        lock = await self._folder.lock()
        self._supervisor = Supervisor(self._data, pass_fds=[lock])
        try:
            endpoints.remove(self._data)  # of a cloud that was killed
            self._endpoints = await self._start()
            endpoints.write(self._data, self._endpoints)
        except BaseException:
            await self._end_surely()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every part in the reverse order and removes ``endpoints.json``."""
        await self._end_surely()

    async def watch(self) -> None:
        """Waits until a part ends by itself.

        Raises:
            ProcessEndedError: always; which part, and the end of its log.
        """
        await self._supervisor.watch()

    async def _start(self) -> Endpoints:
        storage = await self._start_storage()
        cluster = await self._start_aks(storage) if self._options.aks else None
        host = await self._start_functions(storage, cluster) if self._options.functions else {}
        return Endpoints(
            storage_connection_string=storage,
            functions_url=host.get("url"),
            function_key=host.get("function_key"),
            master_key=host.get("master_key"),
            kubernetes_url=None if cluster is None else cluster.kubernetes_url,
            kubernetes_token=None if cluster is None else cluster.kubernetes_token,
            kubectl_url=None if cluster is None else cluster.kubectl_url,
            arm_url=None if cluster is None else cluster.arm_url,
        )

    async def _start_storage(self) -> str:
        began = time.perf_counter()
        options = self._options
        emulator = await azurite.start(
            self._data / "azurite",
            self._supervisor.log_of("azurite"),
            blob_port=options.blob_port,
            queue_port=options.queue_port,
            table_port=options.table_port,
            pass_fds=self._supervisor.pass_fds,
        )
        self._supervisor.adopt("azurite", emulator.process)
        self._progress("storage", time.perf_counter() - began)
        began = time.perf_counter()
        async with asyncio.timeout(_STORAGE_SECONDS):
            await _create_containers(emulator.connection_string())
        self._progress("containers", time.perf_counter() - began)
        return emulator.connection_string()

    async def _start_aks(self, storage: str) -> Cluster:
        began = time.perf_counter()
        ready = await self._supervisor.start(
            "aks",
            [
                sys.executable, "-m", "localcloud.aks", "--data", str(self._data / "aks"),
                "--storage-connection-string", storage, "--ready-file", str(self._supervisor.ready_file_of("aks")),
                *self._options.aks_arguments,
            ],
            env=inherited(),
            cwd=REPOSITORY,
            timeout_seconds=_READY_SECONDS,
        )  # fmt: skip
        self._progress("aks", time.perf_counter() - began)
        return Cluster(**{name: _text(ready, name, "aks") for name in Cluster.__dataclass_fields__})

    async def _start_functions(self, storage: str, cluster: Cluster | None) -> dict[str, str]:
        began = time.perf_counter()
        ready = await self._supervisor.start(
            "functions",
            [
                sys.executable, "-m", "localcloud.functions_host", "--app", str(self._options.app.resolve()),
                "--data", str(self._data / "functions"), "--port", str(self._options.functions_port),
                "--ready-file", str(self._supervisor.ready_file_of("functions")), *self._options.functions_arguments,
            ],
            env={**inherited(), **app_settings(storage, cluster, self._options.settings)},
            cwd=REPOSITORY,
            timeout_seconds=_READY_SECONDS,
        )  # fmt: skip
        self._progress("functions", time.perf_counter() - began)
        return {name: _text(ready, name, "functions") for name in ("url", "function_key", "master_key")}

    async def _end_surely(self) -> None:
        """Ends every part although this task may be cancelled meanwhile, as by a second Ctrl-C."""
        ending = asyncio.create_task(self._end())
        cancelled = False
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError:
                cancelled = True
        ending.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _end(self) -> None:
        endpoints.remove(self._data)
        await self._supervisor.stop(grace_seconds=_GRACE_SECONDS)
        self._folder.release()


async def run(
    options: Options, progress: Progress = lambda stage, seconds: None, ready: Callable[[Endpoints], None] | None = None
) -> None:
    """Runs a local cloud until Ctrl-C or SIGTERM, which may come at any moment; ``ready`` is called once all is there.

    Raises:
        LocalCloudError: it could not be started, or a part of it ended by itself; nothing is left running.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopping.set)
    life = asyncio.create_task(_live(LocalCloud(options, progress), ready))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([life, stop], return_when=asyncio.FIRST_COMPLETED)
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life
    finally:
        stop.cancel()
        for number in numbers:
            loop.remove_signal_handler(number)


async def _live(cloud: LocalCloud, ready: Callable[[Endpoints], None] | None) -> None:
    async with cloud:
        if ready is not None:
            ready(cloud.endpoints)
        await cloud.watch()


class _Folder:
    """Holds the data folder for this process and its children.

    The children inherit the lock, so that the folder of a cloud that was killed is free once they have ended, too:
    two Azurites on one folder would spoil it.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / "lock"
        self._file: IO[str] | None = None

    async def lock(self) -> int:
        """Gives the lock's file descriptor.

        Raises:
            DataFolderError: another local cloud uses the folder.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+")
        deadline = time.monotonic() + _GRACE_SECONDS
        while not _is_locked_now(self._file):
            self._file.seek(0)
            holder = self._file.read().strip()
            if _is_alive(holder) or time.monotonic() > deadline:
                self.release()
                raise DataFolderError(
                    f"Another local cloud uses {self._path.parent} (process {holder}). End that one, or give this one "
                    "a folder of its own with --data DIR."
                )
            await asyncio.sleep(0.1)
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()
        return self._file.fileno()

    def release(self) -> None:
        """Lets go of it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _is_locked_now(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True  # it is another user's, or has not written its number yet
    return True


async def _create_containers(connection_string: str) -> None:
    async with (
        BlobServiceClient.from_connection_string(connection_string) as blobs,
        QueueServiceClient.from_connection_string(connection_string) as queues,
    ):
        for container in CONTAINERS:
            with contextlib.suppress(ResourceExistsError):
                await blobs.create_container(container)
        for queue in QUEUES:
            with contextlib.suppress(ResourceExistsError):
                await queues.create_queue(queue)


def _text(ready: Mapping[str, object], name: str, part: str) -> str:
    value = ready.get(name)
    if not isinstance(value, str):
        raise ProcessEndedError(f"{part} is ready, but its ready file has no {name!r}.")
    return value
