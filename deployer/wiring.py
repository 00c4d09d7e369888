"""The composition root: settings and adapters in, use cases out. The only module that knows both."""

import gc
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.core.credentials import TokenCredential
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient

import exporter
from deployer.activity import ActivityNotes
from deployer.adapters import kubeconfig
from deployer.adapters.aks import AksCluster, container_service
from deployer.adapters.existing_cluster import ExistingCluster
from deployer.adapters.storage import (
    BlobDocuments,
    BlobServables,
    BlobUploads,
    StorageOperationQueue,
    StorageQueues,
    StorageRolloutQueue,
    storage_services,
)
from deployer.adapters.tf_serving import TensorFlowServing
from deployer.adapters.workloads import KubernetesWorkloads
from deployer.attempts import Attempts
from deployer.bridging import Bridges
from deployer.calls import Calls, Predictions
from deployer.control import Control
from deployer.conversion import Conversion
from deployer.deferred import Deferred
from deployer.deleted_cluster import DeletableCluster
from deployer.doctor import Doctor
from deployer.economy import Costs
from deployer.execute import Executor
from deployer.export_jobs import ExportJobs, JobPolicy
from deployer.figures import FigureNotes
from deployer.handed_over import HandedOver
from deployer.idle import IdlePolicy
from deployer.job_template import JobTemplate
from deployer.keys import ModelKeys
from deployer.ledger import Ledger
from deployer.ports import Cluster, ClusterAccess
from deployer.prices import Prices
from deployer.removal import Removals
from deployer.repair import Repair
from deployer.request import Proxy
from deployer.retrying import Retries
from deployer.rollback import Rollbacks
from deployer.rollout import Rollouts
from deployer.settings import Settings
from deployer.state import State
from deployer.steps import RolloutPolicy
from deployer.sweep import Sweep
from deployer.teardown import IdleDefaults, Teardown
from deployer.templates import Templates
from deployer.uploads import UploadPolicy, Uploads
from deployer.waking import Waker
from deployer.windows import longest_pause

_STORAGE = "AzureWebJobsStorage"
MODELS, SERVABLES, STATE, ROLLOUTS, OPERATIONS = "models", "servables", "slipway", "rollouts", "operations"


@dataclass(frozen=True)
class Application:
    """The use cases, ready to be called."""

    uploads: Uploads
    rollouts: Rollouts
    sweep: Sweep
    teardown: Teardown
    control: Control
    retries: Retries
    doctor: Doctor
    proxy: Proxy
    calls: Calls
    deferred: Deferred
    keys: ModelKeys


def build(settings: Settings, environment: Mapping[str, str], credential: TokenCredential) -> Application:
    """Puts the application together. Opens no connection: each adapter does when it is first used."""
    blobs, queues = storage_services(environment, credential)
    documents = BlobDocuments(blobs.get_container_client(STATE))
    store = BlobUploads(blobs.get_container_client(MODELS))
    servables = BlobServables(blobs.get_container_client(SERVABLES), blobs.get_container_client(MODELS))
    queue = StorageRolloutQueue(queues.get_queue_client(ROLLOUTS))
    state = State(documents, _now)
    cluster, access = _cluster(settings, credential, state)
    workloads = KubernetesWorkloads(access, gpu_nodes=settings.gpu_node_selector, flavor=settings.serving.flavor)
    restart_gap = timedelta(minutes=settings.idle.restart_gap_minutes)
    waker = Waker(state, queue, settings.idle.wake_seconds, restart_gap, _now)
    attempts = _attempts(settings, state, store, servables, queue)
    repairs = Repair(state, store, servables, cluster, workloads, queue, _now)
    templates = _templates(settings, blobs)
    jobs = ExportJobs(
        state, documents, cluster, workloads, _job_template(settings, templates, environment), _job_policy(settings),
        _rollout_policy(settings), _now,
    )  # fmt: skip
    uploads = Uploads(state, documents, store, queue, attempts, jobs, repairs, _upload_policy(settings), _now)
    removals = Removals(state, documents, store, servables, cluster, workloads, queue, _now)
    retries = Retries(state, queue, jobs.drop, _now)
    executor = Executor(state, cluster, workloads, servables, store, TensorFlowServing(), templates, _now)
    bridges = Bridges(state, cluster, workloads, servables, TensorFlowServing(), templates, settings.bridge.enabled)
    rollouts = Rollouts(
        state, documents, cluster, workloads, queue, executor, _rollout_policy(settings),
        settings.rollout.look_again_seconds, _now,
    )  # fmt: skip
    costs = Costs(
        Prices(settings.prices.per_hour, settings.prices.currency),
        settings.cluster.gpu_nodes,
        settings.idle.wake_seconds,
    )
    ledger = Ledger(documents, costs, _now)
    defaults = IdleDefaults(settings.idle.after, settings.idle.keep_awake, frozenset(settings.idle.days_off))
    teardown = Teardown(
        state, documents, cluster, workloads, waker, ledger, _idle_policy(settings), defaults, costs, _now, bridges,
        repairs.lost,
    )  # fmt: skip
    control = Control(
        state, teardown, ledger, removals, retries, Rollbacks(state, store, queue, _now),
        settings.cluster.gpu_pool, timedelta(minutes=settings.idle.order_minutes), _now,
    )  # fmt: skip
    notes = ActivityNotes(documents, settings.idle.activity_seconds, time.monotonic)
    figures = FigureNotes(documents, settings.proxy.figures_seconds, _now, time.monotonic)
    proxy = Proxy(state, waker, notes, figures, settings.proxy)
    operations = StorageOperationQueue(queues.get_queue_client(OPERATIONS))
    deferred = Deferred(documents, operations, Predictions(proxy, settings.proxy), settings.operations, _now)
    keys = ModelKeys(state, documents, _now, settings.access.cache_seconds)
    return Application(
        uploads=uploads,
        rollouts=rollouts,
        sweep=Sweep(
            state,
            documents,
            store,
            uploads,
            removals,
            queue,
            timedelta(seconds=settings.schedule.sweep_grace_seconds),
            settings.uploads.retire_deleted,
            _now,
        ),
        retries=retries,
        doctor=Doctor(
            settings.cluster,
            state,
            documents,
            store,
            servables,
            StorageQueues(queues),
            cluster,
            workloads,
            repairs,
            _now,
        ),
        teardown=teardown,
        control=control,
        proxy=proxy,
        calls=Calls(proxy, state, control, deferred, keys, settings.proxy),
        deferred=deferred,
        keys=keys,
    )


def handed_over(settings: Settings, environment: Mapping[str, str], credential: TokenCredential) -> HandedOver:
    """The part of it that runs in the Job of a conversion: it knows the storage, and no cluster."""
    blobs, queues = storage_services(environment, credential)
    documents = BlobDocuments(blobs.get_container_client(STATE))
    store = BlobUploads(blobs.get_container_client(MODELS))
    servables = BlobServables(blobs.get_container_client(SERVABLES), blobs.get_container_client(MODELS))
    queue = StorageRolloutQueue(queues.get_queue_client(ROLLOUTS))
    state = State(documents, _now)
    return HandedOver(state, documents, store, _attempts(settings, state, store, servables, queue), _now)


def job_from_environment(settings: Settings) -> HandedOver:
    """The same on what the Job's environment offers."""
    return handed_over(settings, os.environ, DefaultAzureCredential())


def from_environment(settings: Settings) -> Application:
    """The application on the storage and with the credential that the process's environment offers.

    What has been loaded by then stays, so the garbage collector need not look through it while requests wait.
    """
    made = build(settings, os.environ, DefaultAzureCredential())
    gc.collect()
    gc.freeze()
    return made


@dataclass(frozen=True)
class _Scan:
    """The exporter's scan, within its own bounds, trusting the layers of the settings."""

    settings: Settings

    def __call__(self, source: Path, options: exporter.ExportOptions, labels: Path | None) -> exporter.ScanReport:
        allowed = self.settings.export.allowed_layers
        return exporter.scan(source, options, labels=labels, allowed_layers=allowed)


@dataclass(frozen=True)
class _Export:
    """The exporter's conversion within the bounds of the settings."""

    settings: Settings

    def __call__(self, report: exporter.ScanReport, destination: Path) -> exporter.VerifiedServable:
        mib = 1 << 20
        limits = exporter.Limits(
            wall_seconds=self.settings.export.wall_seconds,
            memory_bytes=self.settings.export.memory_mb * mib,
            file_bytes=self.settings.export.disk_mb * mib,
        )
        return exporter.export(report, destination, limits=limits)


def _cluster(
    settings: Settings, credential: TokenCredential, state: State
) -> tuple[Cluster, Callable[[], ClusterAccess]]:
    """The managed cluster, or the existing one of the kubeconfig; and how to reach its Kubernetes API."""
    given = settings.cluster
    if given.kubeconfig:

        def entra_token(application: str) -> str:
            return credential.get_token(f"{application}/.default").token

        return ExistingCluster(), lambda: kubeconfig.access(given.kubeconfig, given.context, entra_token)
    managed = AksCluster(container_service(given, credential), given, credential)
    return DeletableCluster(managed, state), managed.access


def _templates(settings: Settings, blobs: BlobServiceClient) -> Templates:
    serving = settings.serving
    return Templates(
        serving, settings.gpu_node_selector, serving.storage_account or blobs.account_name or "",
        serving.storage_resource_group or settings.cluster.resource_group, settings.proxy.timeout_seconds,
        settings.bridge_node_selector,
    )  # fmt: skip


def _attempts(
    settings: Settings, state: State, store: BlobUploads, servables: BlobServables, queue: StorageRolloutQueue
) -> Attempts:
    conversion = Conversion(
        state, store, servables, queue, exporter.options_inside, _Scan(settings), _Export(settings), _now
    )
    pause = timedelta(minutes=settings.uploads.retry_minutes)
    return Attempts(state, store, conversion, settings.uploads.attempts, pause, _now)


def _job_template(settings: Settings, templates: Templates, environment: Mapping[str, str]) -> JobTemplate:
    storage = {name: value for name, value in environment.items() if name.startswith(_STORAGE)}
    return JobTemplate(
        templates, settings.export, settings.uploads, settings.job_node_selector, storage, settings.telemetry.json_logs
    )


def _job_policy(settings: Settings) -> JobPolicy:
    export = settings.export
    return JobPolicy(export.where, export.job_above_mb << 20, export.job_deadline, export.job_look_seconds)


def _rollout_policy(settings: Settings) -> RolloutPolicy:
    rollout = settings.rollout
    return RolloutPolicy(
        gpu_nodes=settings.cluster.gpu_nodes,
        cluster_limit=timedelta(seconds=rollout.cluster_seconds),
        pods_limit=timedelta(seconds=rollout.pods_seconds),
        prove_limit=timedelta(seconds=rollout.prove_seconds),
        drain=timedelta(seconds=rollout.drain_seconds),
        pools=settings.cluster.gpu_pools,
        restart_gap=timedelta(minutes=settings.idle.restart_gap_minutes),
        figures_lag=timedelta(seconds=settings.proxy.figures_seconds + 2 * settings.proxy.route_cache_seconds),
    )


def _upload_policy(settings: Settings) -> UploadPolicy:
    uploads = settings.uploads
    return UploadPolicy(
        settle=timedelta(seconds=uploads.settle_seconds),
        unfinished=timedelta(minutes=uploads.unfinished_minutes),
    )


def _idle_policy(settings: Settings) -> IdlePolicy:
    idle, rollout = settings.idle, settings.rollout
    return IdlePolicy(
        enabled=idle.enabled,
        pool_after=_minutes(idle.pool_after_minutes),
        stop_after=_minutes(idle.stop_after_minutes),
        delete_after=None if idle.delete_after_days is None else timedelta(days=idle.delete_after_days),
        note=timedelta(seconds=idle.activity_seconds),
        wake_limit=timedelta(seconds=rollout.cluster_seconds + rollout.pods_seconds),
        min_awake=timedelta(minutes=idle.min_awake_minutes),
        max_asleep=None if idle.wake_test_days is None else timedelta(days=idle.wake_test_days),
        max_wake=None if idle.max_wake_seconds is None else timedelta(seconds=idle.max_wake_seconds),
        restart_gap=timedelta(minutes=idle.restart_gap_minutes),
        period=longest_pause(settings.schedule.teardown, _now()) or IdlePolicy.period,
    )


def _minutes(value: float | None) -> timedelta | None:
    return None if value is None else timedelta(minutes=value)


def _now() -> datetime:
    return datetime.now(UTC)
