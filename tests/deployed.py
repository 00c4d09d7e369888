"""The application on the small world, and the platform that calls it: events, queue and timers, retries and poison."""

import functools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from deployer.attempts import Attempts
from deployer.bridging import Bridges
from deployer.control import Control
from deployer.conversion import Conversion
from deployer.deleted_cluster import DeletableCluster
from deployer.doctor import Doctor
from deployer.economy import Costs
from deployer.errors import SlipwayError
from deployer.execute import Executor
from deployer.export_jobs import ExportJobs, JobPolicy
from deployer.handed_over import HandedOver
from deployer.idle import Decision, IdlePolicy
from deployer.job_template import JobTemplate
from deployer.ledger import Ledger
from deployer.ports import Cluster, JobState, PodFailure
from deployer.prices import Prices
from deployer.record import ModelRecord
from deployer.removal import Removals
from deployer.repair import Repair
from deployer.retrying import Retries
from deployer.rollback import Rollbacks
from deployer.rollout import Rollouts
from deployer.settings import ClusterSettings, ExportSettings, IdleSettings, ServingSettings, UploadSettings
from deployer.state import State
from deployer.steps import RolloutPolicy
from deployer.sweep import Sweep
from deployer.teardown import IdleDefaults, Teardown
from deployer.templates import Templates
from deployer.uploads import UploadPolicy, Uploads
from deployer.waking import Waker
from exporter import (
    ExportError,
    ExportOptions,
    Labels,
    Manifest,
    Packaging,
    ScanBounds,
    ScanReport,
    Source,
    SourceFormat,
    VerifiedServable,
)
from exporter.keras_scan import Loader
from exporter.manifest import ExporterInfo, FileDigest, Golden, Parity, Signature, SourceInfo, TensorSpec
from tests.fake_cluster import FakeCluster, FakeJob, FakeKubernetes, FakeServer, Pace
from tests.fakes import FakeDocuments, FakeQueue, FakeQueues, FakeServables, FakeUploads, Killed, World, digest

DEQUEUES = 5  # the platform gives up after so many failures
POLICY = RolloutPolicy(
    gpu_nodes=1, cluster_limit=timedelta(minutes=30), pods_limit=timedelta(minutes=5), prove_limit=timedelta(minutes=1),
    drain=timedelta(seconds=15),
)  # fmt: skip
IDLE = IdlePolicy(
    enabled=True, pool_after=timedelta(minutes=10), stop_after=timedelta(minutes=60), note=timedelta(seconds=30),
    wake_limit=timedelta(minutes=35),
)  # fmt: skip

UPLOADS = UploadPolicy(settle=timedelta(seconds=60), unfinished=timedelta(minutes=30))
IN_FUNCTION = JobPolicy("function", above=0, deadline=timedelta(minutes=38), look_again_seconds=10)
CLUSTER = ClusterSettings(subscription_id="subscription", resource_group="group", name="cluster")


@dataclass(frozen=True)
class _Converted:
    """Stands for a ``VerifiedServable``, which only the real exporter can make: a directory and the real manifest type."""

    directory: Path
    manifest: Manifest


@dataclass
class FakeExporter:
    """Substitutes the exporter at ``Uploads.scan`` and ``Uploads.export``: any bytes are a model, unless told otherwise."""

    refused: dict[bytes, ExportError] = field(default_factory=dict)
    failures: list[ExportError] = field(default_factory=list)
    during: Callable[[], None] = lambda: None  # what else happens in the world while a conversion runs
    inputs: dict[str, TensorSpec] = field(default_factory=dict)  # of the models to come, where not images
    conversions: int = 0

    def options_inside(self, source: Path) -> str | None:
        """``slipway.yaml`` in a directory."""
        file = source / "slipway.yaml"
        return file.read_text() if file.is_file() else None

    def scan(self, source: Path, options: ExportOptions, labels: Path | None) -> ScanReport:
        """Reads all bytes of the file or directory."""
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        content = b"\0".join(file.read_bytes() for file in files if file.is_file())
        if content in self.refused:
            raise self.refused[content]
        names = tuple(labels.read_text().split()) if labels else None
        return ScanReport(
            source=Source(source, SourceFormat.KERAS, Packaging.FILE), options=options,
            labels=Labels(names, labels.name) if names and labels else None, sha256=digest(content),
            digest=digest(content, options.model_dump_json().encode(), repr(names).encode()), bytes=len(content),
            keras_version="3.15.1", loader=Loader.KERAS_3, allowed_layers=frozenset(), bounds=ScanBounds(), seconds=0.1,
        )  # fmt: skip

    def export(self, report: ScanReport, destination: Path) -> VerifiedServable:
        """Writes the files that a servable has; its golden answer follows from its content."""
        self.conversions += 1
        self.during()
        if self.failures:
            raise self.failures.pop(0)
        source = report.source.path
        if source.is_dir():  # as a SavedModel, which is repackaged as it is
            files = {
                file.relative_to(source).as_posix(): file.read_bytes()
                for file in source.rglob("*")
                if file.is_file() and file.name != "slipway.yaml"
            }
        else:
            files = {
                "saved_model.pb": report.digest.encode(), "variables/variables.index": b"index",
                "variables/variables.data-00000-of-00001": report.sha256.encode(),
            }  # fmt: skip
        for name, content in files.items():
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            (destination / name).write_bytes(content)
        manifest = _manifest(report, files, self.inputs)
        manifest.write(destination)
        return cast(VerifiedServable, _Converted(destination, manifest))


def _manifest(report: ScanReport, files: dict[str, bytes], inputs: dict[str, TensorSpec]) -> Manifest:
    image = inputs or {"image_bytes": TensorSpec(dtype="string", shape=[None])}
    scores = {"scores": TensorSpec(dtype="float32", shape=[None, 2])}
    return Manifest(
        source=SourceInfo(
            name=report.source.path.name, format="keras", sha256=report.sha256, bytes=report.bytes,
            keras_version=report.keras_version,
        ),
        exporter=ExporterInfo(slipway="0.1.0", tensorflow="2.21.0", keras="3.15.1"),
        signatures={
            "classify_image": Signature(method="tensorflow/serving/predict", inputs=dict(image), outputs=dict(scores))
        },
        image=None,
        labels=report.labels.names if report.labels else None,
        top=report.options.top,
        golden=[
            Golden(
                signature="classify_image", inputs={"image_bytes": [{"b64": "AAAA"}]},
                outputs={"scores": int(report.digest[:6], 16) / 0xFFFFFF}, rtol=1e-3, atol=1e-5,
            )
        ],
        identity=report.digest,
        parity=Parity(max_abs_error=0.0, max_rel_error=0.0, batch_sizes=[1, 3], rtol=1e-3, atol=1e-5),
        files={name: FileDigest(sha256=digest(content), bytes=len(content)) for name, content in files.items()},
        bytes=sum(map(len, files.values())),
        timings={"scan": 0.1, "load": 0.5},
    )  # fmt: skip


class Deployed:
    """The use cases wired to the fakes, as ``deployer.wiring`` wires them to Azure; and the platform around them.

    Methods that say "the platform" deliver with retries, as the Functions host does: a failed or killed call is made
    again, up to five times, then the message is poison.
    """

    def __init__(
        self,
        *,
        gpus: int = 1,
        pool_count: int = 1,
        pace: Pace | None = None,
        retire_deleted: bool = False,
        jobs: JobPolicy = IN_FUNCTION,
    ) -> None:
        self.world = World()
        self.pace = pace or Pace()
        self.documents = FakeDocuments(self.world)
        self.store = FakeUploads(self.world)
        self.servables = FakeServables(self.world, self.store)
        self.queue = FakeQueue(self.world)
        self.exporter = FakeExporter()
        self.cluster = FakeCluster(self.world, self.pace, pool_count=pool_count)
        self.kubernetes = FakeKubernetes(self.world, self.cluster, self.pace)
        self.server = FakeServer(self.kubernetes, self.servables)
        self.state = State(self.documents, self.world.clock)
        self.azure: Cluster = DeletableCluster(self.cluster, self.state)  # what the use cases are given
        self.waker = Waker(self.state, self.queue, IdleSettings().wake_seconds, IDLE.restart_gap, self.world.clock)
        self.steps: list[str] = []
        self.poison: list[str] = []
        self.gpus = gpus
        self.retire_deleted = retire_deleted
        self.marked = self.marked_call = 0  # changes, and all calls, before what a test is about
        self.defaults = IdleDefaults(timedelta(minutes=30))
        self.bridged = False
        self.jobs = jobs
        self.restart()

    def restart(self) -> None:
        """A fresh process: nothing held in memory is carried over."""
        clock = self.world.clock
        templates = Templates(ServingSettings(), {"agentpool": "gpu"}, "account", "group", 60)
        conversion = Conversion(
            self.state, self.store, self.servables, self.queue, self.exporter.options_inside, self.exporter.scan,
            self.exporter.export, clock,
        )  # fmt: skip
        attempts = Attempts(self.state, self.store, conversion, DEQUEUES, timedelta(minutes=1), clock)
        export = ExportSettings(job_image="slipway-exporter:1")
        render = JobTemplate(templates, export, UploadSettings(), {}, {"AzureWebJobsStorage": "a=b"})
        export_jobs = ExportJobs(
            self.state, self.documents, self.azure, self.kubernetes, render, self.jobs, POLICY, clock
        )
        self.handed_over = HandedOver(self.state, self.documents, self.store, attempts, clock)
        repairs = Repair(self.state, self.store, self.servables, self.azure, self.kubernetes, self.queue, clock)
        self.uploads = Uploads(
            self.state, self.documents, self.store, self.queue, attempts, export_jobs, repairs, UPLOADS, clock
        )
        executor = Executor(
            self.state,
            self.azure,
            self.kubernetes,
            self.servables,
            self.store,
            self.server,
            templates,
            clock,
        )
        policy = RolloutPolicy(
            self.gpus, POLICY.cluster_limit, POLICY.pods_limit, POLICY.prove_limit, POLICY.drain, self.cluster.pools
        )
        self.rollouts = Rollouts(
            self.state, self.documents, self.azure, self.kubernetes, self.queue, executor, policy, 2, clock
        )
        self.removals = Removals(
            self.state, self.documents, self.store, self.servables, self.azure, self.kubernetes, self.queue, clock
        )
        self.retries = Retries(self.state, self.queue, export_jobs.drop, clock)
        self.sweep = Sweep(
            self.state, self.documents, self.store, self.uploads, self.removals, self.queue, timedelta(seconds=60),
            self.retire_deleted, clock,
        )  # fmt: skip
        self.costs = Costs(Prices({}), self.gpus, IdleSettings().wake_seconds)
        self.ledger = Ledger(self.documents, self.costs, clock)
        bridges = Bridges(
            self.state, self.azure, self.kubernetes, self.servables, self.server, templates, enabled=self.bridged
        )
        self.teardown = Teardown(
            self.state, self.documents, self.azure, self.kubernetes, self.waker, self.ledger, IDLE, self.defaults,
            self.costs, clock, bridges, repairs.lost,
        )  # fmt: skip
        self.control = Control(
            self.state, self.teardown, self.ledger, self.removals, self.retries,
            Rollbacks(self.state, self.store, self.queue, clock), "gpu", timedelta(minutes=60), clock,
        )  # fmt: skip
        self.doctor = Doctor(
            CLUSTER, self.state, self.documents, self.store, self.servables, FakeQueues({"rollouts": 0}), self.azure,
            self.kubernetes,
            repairs, clock,
        )  # fmt: skip

    def record(self, model: str) -> ModelRecord:
        """The model's record."""
        return self.state.model(model)

    def serving(self, model: str) -> int | None:
        """The version that answers a client now: the route's, if its pods do."""
        stored = self.documents.blobs.get(f"models/{model}.json")  # looked at from outside: no call of the deployer's
        route = ModelRecord.model_validate_json(stored.data).route if stored is not None else None
        return route.version if route and self.kubernetes.ready(f"tfs-{model}-v{route.version}") else None

    def run(self, seconds: float = 600, *, watch: Callable[[], object] = lambda: None) -> "Deployed":
        """The platform delivers all events and messages that fall due in this time; ``watch`` looks in between."""
        end = self.world.now + timedelta(seconds=seconds)
        while self.world.now <= end:
            while self.store.events:
                blob = self.store.events.pop(0)
                self._deliver(blob, self._take, self._upload_given_up)
                watch()
            while (message := self.queue.take()) is not None:
                if (job := message.job) is not None:
                    self._deliver(message.model, functools.partial(self._look_at_job, job), lambda model: None)
                else:
                    self._deliver(message.model, self._look(message.chain), self._rollout_given_up)
                watch()
            while (due := self.kubernetes.due_job()) is not None:
                self._run_job(due)
                watch()
            self._until_next(end)
        return self

    def _until_next(self, end: datetime) -> None:
        """Lets time pass, in whole seconds, until a message falls due or the time is over."""
        waiting = [job.due for job in self.kubernetes.jobs.values() if job.state.phase == "active" and job.told is None]
        due = min([*waiting, *(message.due for message in self.queue.messages)], default=end)
        self.world.pass_time(max(1, math.ceil((min(due, end) - self.world.now).total_seconds())))

    def drop(self, name: str, data: bytes | str, *, seconds: float = 600) -> "Deployed":
        """A user uploads, and the platform does what follows."""
        self.store.drop(name, data)
        return self.run(seconds)

    def tick(self) -> Decision | None:
        """The teardown timer fires; after a pause twice, as the first look after one decides nothing."""
        looked = self.state.cluster().looked
        if looked is None or self.world.now - looked > 3 * IDLE.period:
            self.teardown.run()
        return self.teardown.run()

    def request(self, model: str) -> None:
        """A request arrives: what the proxy does for it outside the model server."""
        self.documents.put(f"activity/{model}/instance", b"")
        self.waker.wake(model, by="request")

    def _look(self, chain: str | None) -> Callable[[str], None]:
        """What a message calls; when it comes again, as of nobody's asking."""
        chains = iter([chain])
        return lambda model: self._advance(model, next(chains, None))

    def _advance(self, model: str, chain: str | None) -> None:
        step = self.rollouts.advance(model, chain)
        name = type(step).__name__
        if step is not None and (not self.steps or self.steps[-1] != name):
            self.steps.append(name)

    def _take(self, blob: str) -> None:
        self.uploads.take(blob)

    def _look_at_job(self, job: str, model: str) -> None:
        self.uploads.look(model, job)

    def _run_job(self, job: FakeJob) -> None:
        """The Job's process: one that is killed is killed for good."""
        try:
            if not self.handed_over.run(job.arguments["upload"], job.arguments["job"]):
                job.due = self.world.now + timedelta(seconds=5)  # it waits for the lease
                return
            job.state = JobState("succeeded")
        except (SlipwayError, ExportError) as error:
            job.state = JobState("failed", PodFailure("Error", str(error), fatal=False))
        except Killed:
            job.state = JobState("failed", PodFailure("Error", "exit status 137", fatal=False))

    def _upload_given_up(self, blob: str) -> None:
        self.uploads.given_up(blob)

    def _rollout_given_up(self, model: str) -> None:
        self.retries.rollout_given_up(model)

    def _deliver(self, what: str, call: Callable[[str], None], give_up: Callable[[str], None]) -> None:
        if self._dequeued(what, call):
            return
        self.poison.append(what)
        self._dequeued(what, give_up)

    def _dequeued(self, what: str, call: Callable[[str], None]) -> bool:
        for _ in range(DEQUEUES):
            try:
                call(what)
                return True
            except (SlipwayError, ExportError):
                self.world.pass_time(1)
            except Killed:
                self.restart()
                self.world.pass_time(61)  # the message's visibility timeout, or a lease that must run out
        return False

    def told_of(self, model: str) -> dict[str, object]:
        """What users are shown of the model, by way of JSON."""
        shown: dict[str, object] = json.loads(json.dumps(self.control.model(model)))
        return shown
