"""What a look costs as models grow in number, on the real Azurite: storage calls and time; and 200 uploads at once.

The use cases are those of ``deployer.wiring``, with storage's own adapters. Of the rest two parts are stood in for: the
conversion, which takes what it takes whatever the number of models, is the tests' own; and the cluster is an existing one that
nobody asks anything, as looks with nothing to do ask Kubernetes nothing.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from azure.core.credentials import AccessToken
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient
from rich.console import Console
from rich.table import Table

from benchmarks.storage_calls import counted
from deployer.adapters.storage import BlobDocuments, BlobUploads, storage_services
from deployer.errors import SlipwayError
from deployer.glance import metadata_of
from deployer.idle import Stay
from deployer.record import ModelRecord, Route, UploadStatus, VersionRecord
from deployer.resolution import Upload, newest_uploads
from deployer.settings import ClusterSettings, Settings
from deployer.wiring import MODELS, ROLLOUTS, SERVABLES, STATE, Application, build
from localcloud import azurite
from tests.deployed import FakeExporter

SIZES = (10, 100, 1000, 5000)
AT_ONCE = 200
PAGE = 5000  # blobs in one page of a listing
_THREADS = 12  # as many messages as the app's host takes at once: batchSize and newBatchThreshold of host.json
_DELIVERIES = 5  # maxDequeueCount
_LISTINGS = 4  # at most, in one look: each costs one call more with each further page


@dataclass(frozen=True)
class Look:
    """What one look cost; ``cpu``: of ``seconds``, those that this process computed, whatever else runs on the machine."""

    calls: Counter[str]
    seconds: float
    cpu: float = 0.0

    @property
    def number(self) -> int:
        """All calls."""
        return self.calls.total()


@dataclass(frozen=True)
class Drain:
    """What became of uploads that came at once. ``failures``: deliveries that failed and were made again."""

    published: int
    asked: int
    failures: int
    poison: int
    seconds: float


@dataclass(frozen=True)
class Storage:
    """One storage account with Slipway's containers, and the application on it."""

    blobs: BlobServiceClient
    queues: QueueServiceClient
    application: Application

    @classmethod
    @contextmanager
    def at(cls, connection: str) -> Iterator[Self]:
        """Makes containers and queue, and puts the application together."""
        environment = {"AzureWebJobsStorage": connection}
        blobs, queues = storage_services(environment, _NoCredential())
        with blobs, queues:
            for name in (MODELS, SERVABLES, STATE):
                blobs.create_container(name)
            queues.create_queue(ROLLOUTS)
            settings = Settings(cluster=ClusterSettings(kubeconfig="nobody asks it"))
            made = build(settings, environment, _NoCredential())
            exporter = FakeExporter()
            conversion = replace(
                made.uploads.attempts.conversion,
                options_inside=exporter.options_inside,
                scan=exporter.scan,
                export=exporter.export,
            )
            attempts = replace(made.uploads.attempts, conversion=conversion)
            yield cls(blobs, queues, replace(made, uploads=replace(made.uploads, attempts=attempts)))

    def seed(self, numbers: Iterable[int]) -> None:
        """Makes models that serve or sleep, half of them each, with their uploads; nothing is to be done for any of them."""
        wanted = [f"model-{number:05d}" for number in numbers]
        drop = self.blobs.get_container_client(MODELS)
        documents = BlobDocuments(self.blobs.get_container_client(STATE))
        now = datetime.now(UTC)

        def write(upload: Upload) -> None:
            record = standing(upload, now - timedelta(hours=2), asleep=hash(upload.fingerprint) % 2 == 0)
            path, data = f"models/{record.name}.json", record.model_dump_json(indent=1).encode()
            documents.write(path, data, etag=None, metadata=metadata_of(record))

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda name: drop.upload_blob(f"{name}.keras", name.encode()), wanted))
            uploads = newest_uploads(BlobUploads(drop).listing("model-"))
            list(pool.map(write, (uploads[name] for name in wanted)))
        documents.put("activity/one.json", json.dumps(dict.fromkeys(uploads, 0)).encode())

    def cost(self, look: Callable[[], object]) -> Look:
        """What a look costs."""
        with counted() as calls:
            begun, computed = time.perf_counter(), time.process_time()
            look()
            seconds, cpu = time.perf_counter() - begun, time.process_time() - computed
        return Look(calls, seconds, cpu)

    def looks(self, new: str) -> dict[str, Look]:
        """What each look costs with the models that there are; the upload is of a model named ``new``."""
        application = self.application
        for _ in range(2):  # the first after a pause decides nothing, and the ledger has its line
            decision = application.teardown.run()
        if not isinstance(decision, Stay):
            raise SystemExit(f"There was something to do: {decision}")
        self.blobs.get_blob_client(MODELS, f"{new}.keras").upload_blob(new.encode())
        found = {
            "sweep": self.cost(self._sweep),
            "idle check": self.cost(application.teardown.run),
            "list of models": self.cost(application.control.models),
            "upload": self.cost(lambda: application.uploads.take(f"{new}.keras")),
        }
        self.blobs.get_blob_client(MODELS, f"{new}.keras").delete_blob()  # nobody rolls it out: sweeps would ask for it
        self.blobs.get_blob_client(STATE, f"models/{new}.json").delete_blob()
        return found

    def _sweep(self) -> None:
        """As the timer's function does."""
        self.application.sweep.run()
        self.application.deferred.sweep()

    def drain(self, number: int) -> Drain:
        """Uploads come at once, each told of twice; what fails is delivered again, as the platform does."""
        names = [f"burst-{index:05d}" for index in range(number)]
        drop = self.blobs.get_container_client(MODELS)
        failures, poison = 0, 0

        def deliver(name: str) -> tuple[int, int]:
            for failed in range(_DELIVERIES):
                try:
                    self.application.uploads.take(f"{name}.keras")
                except SlipwayError as error:
                    print(f"  {name}: {error.message}")
                else:
                    return failed, 0
            return _DELIVERIES, 1

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda name: drop.upload_blob(f"{name}.keras", name.encode()), names))
            begun = time.perf_counter()
            for failed, lost in pool.map(deliver, [name for name in names for _ in range(2)]):
                failures, poison = failures + failed, poison + lost
            seconds = time.perf_counter() - begun
        published = 0
        for name in names:
            record = self.application.rollouts.state.model(name)
            published += [(item.version, item.state) for item in record.versions] == [(1, "published")]
        asked = self.queues.get_queue_client(ROLLOUTS).get_queue_properties().approximate_message_count or 0
        return Drain(published, asked, failures, poison, seconds)


def standing(upload: Upload, since: datetime, *, asleep: bool) -> ModelRecord:
    """The record of a model whose upload was taken, and which serves or sleeps since then."""
    version = VersionRecord(version=1, identity=upload.fingerprint, state="serving", created=since)
    status = UploadStatus(
        blob=upload.primary.name, etag=upload.primary.etag, fingerprint=upload.fingerprint, state="serving", at=since,
        version=1,
    )  # fmt: skip
    return ModelRecord(
        name=upload.model, updated=since, upload=status, versions=(version,), next_version=2, desired=1,
        route=None if asleep else Route(version=1, address="http://10.0.0.1:8501"), asleep=asleep, changed_rung=since,
        taken={upload.primary.name: upload.primary.etag},
    )  # fmt: skip


class _NoCredential:
    """Where a connection string is given, no token is ever asked for."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        raise SystemExit("A token was asked for.")


def measured(storage: Storage, sizes: Sequence[int]) -> dict[int, dict[str, Look]]:
    """The cost of each look, by number of models."""
    found: dict[int, dict[str, Look]] = {}
    there = 0
    for size in sizes:
        storage.seed(range(there, size))
        found[size] = storage.looks(f"newest-{size}")
        there = size
    return found


def missed(found: dict[int, dict[str, Look]]) -> list[str]:
    """Which looks cost more calls than with the fewest models, but for one more by listing and further page."""
    fewest = found[min(found)]
    return [
        f"{what} with {size} models: {look.number} calls, with {min(found)} {fewest[what].number}"
        for size, looks in found.items()
        for what, look in looks.items()
        if look.number > fewest[what].number + _LISTINGS * ((size + 1) // PAGE)
    ]


def main() -> int:
    """Measures and prints; 0 where all targets are met."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="slipway-scale-") as name, asyncio.Runner() as runner:
        server = runner.run(azurite.start(Path(name) / "data", Path(name) / "log"))
        try:
            with Storage.at(server.connection_string()) as storage:
                found = measured(storage, SIZES)
                drain = storage.drain(AT_ONCE)
        finally:
            runner.run(server.stop())
    _show(console, found)
    late = missed(found)
    console.print(f"Looks cost the same calls with {min(found)} and {max(found)} models: {'; '.join(late) or 'yes'}")
    whole = drain.published == AT_ONCE and drain.poison == drain.failures == 0
    console.print(
        f"{AT_ONCE} uploads at once, each told of twice (conversion stood in for): {drain.published} published once, "
        f"{drain.failures} failures, {drain.poison} poison, {drain.seconds:.1f} s: {'as wanted' if whole else 'MISSED'}"
    )
    return 0 if whole and not late else 1


def _show(console: Console, found: dict[int, dict[str, Look]]) -> None:
    table = Table(title="Storage calls and time of one look, by number of models", title_justify="left")
    for column in ("", "models", "calls", "seconds", "computed", "calls by kind"):
        table.add_column(column, justify="left" if column in ("", "calls by kind") else "right")
    for what in next(iter(found.values())):
        for size, looks in found.items():
            look = looks[what]
            times = f"{look.seconds:.2f}", f"{look.cpu:.2f}"
            kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(look.calls.items()))
            table.add_row(what, f"{size:,}", str(look.number), *times, kinds, end_section=size == max(found))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
