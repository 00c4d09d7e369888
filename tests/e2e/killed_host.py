"""A Functions host of a local cloud that is killed and started again, as a platform does it: same address, same settings."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from localcloud.cloud import REPOSITORY, LocalCloud, Options
from localcloud.process import kill, spawn, stop
from localcloud.settings import Cluster, app_settings, inherited
from tests.e2e.cloud_user import Client

_READY_SECONDS = 90
_GONE_SECONDS = 60
_PACE = ("--blob-poll-seconds", "0.3", "--queue-poll-seconds", "0.3", "--queue-hidden-seconds", "6")


@dataclass(frozen=True)
class Seen:
    """A process, known by its number and the moment of its start: numbers are used again."""

    number: int
    started: str
    command: str


@dataclass
class Host:
    """``data`` is the local cloud's folder. What the app leaves in its temporary folder lies in ``temporary``."""

    data: Path
    storage: str
    settings: Mapping[str, str]
    address: dict[str, str] = field(default_factory=dict)
    children: set[Seen] = field(default_factory=set)
    _process: Process | None = None

    @property
    def temporary(self) -> Path:
        return self.data / "tmp"

    @property
    def _ready_file(self) -> Path:
        return self.data / "run" / "functions.json"

    async def start(self) -> None:
        """Starts it; it may not be ready yet."""
        aks = json.loads((self.data / "run" / "aks.json").read_text())
        cluster = Cluster(**{name: aks[name] for name in Cluster.__dataclass_fields__})
        self.temporary.mkdir(exist_ok=True)
        self._ready_file.unlink(missing_ok=True)
        port = self.address.get("url", ":0").rpartition(":")[2]
        self._process = await spawn(
            [
                sys.executable, "-m", "localcloud.functions_host", "--app", str(REPOSITORY), "--port", port,
                "--data", str(self.data / "functions"), "--ready-file", str(self._ready_file), *_PACE,
            ],
            log=self.data / "logs" / "functions.log", cwd=REPOSITORY,
            env={**inherited(), **app_settings(self.storage, cluster, self.settings), "TMPDIR": str(self.temporary)},
        )  # fmt: skip

    async def ready(self) -> dict[str, str]:
        """Waits until it listens; what its ready file says."""
        assert self._process is not None
        async with asyncio.timeout(_READY_SECONDS):
            while not self._ready_file.exists():
                assert self._process.returncode is None, (self.data / "logs" / "functions.log").read_text()[-4000:]
                await asyncio.sleep(0.05)
        self.address = json.loads(self._ready_file.read_text())
        return self.address

    async def kill(self) -> None:
        """SIGKILL to the host itself, and to nothing that it started: that must go by itself."""
        assert self._process is not None
        self.note_children()
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    def kill_converting(self) -> bool:
        """SIGKILL to a process that converts, or that waits for conversions, if there is one."""
        assert self._process is not None
        self.note_children()
        found = [seen for seen in below(self._process.pid) if "exporter.server" in seen.command]
        for seen in found[-1:]:  # the fork that converts, where there is one
            with contextlib.suppress(ProcessLookupError):
                os.kill(seen.number, signal.SIGKILL)
        return bool(found)

    def note_children(self) -> None:
        """Remembers what it has started and what runs."""
        if self._process is not None:
            self.children |= set(below(self._process.pid))

    async def children_gone(self) -> None:
        """Waits until nothing runs that hosts before this one had started."""
        assert self._process is not None
        deadline = asyncio.get_running_loop().time() + _GONE_SECONDS
        while left := (self.children - set(below(self._process.pid))) & set(running()):
            assert asyncio.get_running_loop().time() < deadline, f"left behind by hosts that were killed: {left}"
            await asyncio.sleep(0.2)

    def age_leftovers(self) -> None:
        """Makes what killed hosts left among the temporary files look old enough to be removed."""
        for left in self.temporary.iterdir():
            os.utime(left, (1, 1))

    async def end(self) -> None:
        """Ends it for good."""
        if self._process is not None:
            await stop(self._process)
            await kill(self._process)


@dataclass
class Place:
    """A local cloud without a Functions host, and the host that is killed."""

    client: Client
    host: Host
    storage: str

    def records(self) -> dict[str, dict[str, Any]]:
        """What is stored of each model, asked of storage itself: there may be no host."""
        found = {}
        with BlobServiceClient.from_connection_string(self.storage) as service:
            container = service.get_container_client("slipway")
            for blob in container.list_blobs(name_starts_with="models/"):
                record = json.loads(container.download_blob(blob.name).readall())
                found[record["name"]] = record
        return found

    def poisoned(self) -> dict[str, int]:
        """How many messages lie in each poison queue."""
        with QueueServiceClient.from_connection_string(self.storage) as service:
            names = [queue.name for queue in service.list_queues() if queue.name.endswith("-poison")]
            return {
                name: count
                for name in names
                if (count := service.get_queue_client(name).get_queue_properties().approximate_message_count)
            }

    def leased(self) -> list[str]:
        """Blobs of the state container on which somebody holds a lease."""
        blobs = self.client.container("slipway").list_blobs()
        return [str(blob.name) for blob in blobs if blob.lease.state == "leased"]


@contextlib.asynccontextmanager
async def cloud_with_host(
    folder: Path, settings: Mapping[str, str], aks_arguments: Sequence[str]
) -> AsyncIterator[Place]:
    """A local cloud in this folder whose Functions host can be killed."""
    data = folder / "cloud"
    async with LocalCloud(Options(data=data, functions=False, aks_arguments=aks_arguments)) as cloud:
        storage = cloud.endpoints.storage_connection_string
        host = Host(data, storage, settings)
        try:
            await host.start()
            told = await host.ready()
            keys = {name: told[name] for name in ("function_key", "master_key")}
            yield Place(Client(replace(cloud.endpoints, functions_url=told["url"], **keys), data), host, storage)
        finally:
            await host.end()


def below(parent: int) -> list[Seen]:
    """What runs below a process, children before grandchildren."""
    parents = {seen.number: _parent(seen.number) for seen in running()}
    found, frontier = [parent], [parent]
    while frontier:
        frontier = [number for number, of in parents.items() if of in frontier]
        found += frontier
    known = {seen.number: seen for seen in running()}
    return [known[number] for number in found[1:] if number in known]


def running() -> Iterator[Seen]:
    """Every process of this machine that has not ended."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if fields[0] not in "ZX":
            yield Seen(int(folder.name), fields[19], command)


def _parent(number: int) -> int:
    try:
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
