"""The composition root: settings and adapters in, use cases out. The only module that knows both."""

import gc
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.core.credentials import TokenCredential
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient

import exporter
from deployer.activity import ActivityNotes
from deployer.adapters.aks import AksCluster, container_service
from deployer.adapters.storage import (
    BlobDocuments,
    BlobServables,
    BlobUploads,
    StorageOperationQueue,
    StorageRolloutQueue,
    storage_services,
)
from deployer.adapters.tf_serving import TensorFlowServing
from deployer.adapters.workloads import KubernetesWorkloads
from deployer.calls import Calls, Predictions
from deployer.control import Control
from deployer.deferred import Deferred
from deployer.execute import Executor
from deployer.idle import IdlePolicy
from deployer.keys import ModelKeys
from deployer.plan import RolloutPolicy
from deployer.request import Proxy
from deployer.rollout import Rollouts
from deployer.settings import Settings
from deployer.state import State
from deployer.sweep import Sweep
from deployer.teardown import Teardown
from deployer.templates import Templates
from deployer.uploads import Uploads
from deployer.waking import Waker

MODELS, SERVABLES, STATE, ROLLOUTS, OPERATIONS = "models", "servables", "slipway", "rollouts", "operations"


@dataclass(frozen=True)
class Application:
    """The use cases, ready to be called."""

    uploads: Uploads
    rollouts: Rollouts
    sweep: Sweep
    teardown: Teardown
    control: Control
    proxy: Proxy
    calls: Calls
    deferred: Deferred
    keys: ModelKeys


def build(settings: Settings, environment: Mapping[str, str], credential: TokenCredential) -> Application:
    """Puts the application together. Opens no connection: each adapter does when it is first used."""
    blobs, queues = storage_services(environment, credential)
    documents = BlobDocuments(blobs.get_container_client(STATE))
    store = BlobUploads(blobs.get_container_client(MODELS))
    servables = BlobServables(blobs.get_container_client(SERVABLES))
    queue = StorageRolloutQueue(queues.get_queue_client(ROLLOUTS))
    cluster = AksCluster(container_service(settings.cluster, credential), settings.cluster, credential)
    workloads = KubernetesWorkloads(cluster.access, gpu_pool=settings.cluster.gpu_pool)
    state = State(documents, _now)
    waker = Waker(state, queue, settings.idle.wake_seconds, _now)
    uploads = Uploads(
        state, documents, store, servables, queue, exporter.options_inside, _Scan(settings), _Export(settings), _now
    )
    executor = Executor(
        state, cluster, workloads, servables, store, TensorFlowServing(), _templates(settings, blobs), _now
    )
    rollouts = Rollouts(
        state, cluster, workloads, queue, executor, _rollout_policy(settings), settings.rollout.look_again_seconds, _now
    )
    teardown = Teardown(state, documents, cluster, workloads, _idle_policy(settings), settings.idle.after, _now)
    control = Control(state, cluster, waker, teardown, settings.cluster.gpu_pool, _now)
    notes = ActivityNotes(documents, settings.idle.activity_seconds, time.monotonic)
    proxy = Proxy(state, waker, notes, settings.proxy)
    operations = StorageOperationQueue(queues.get_queue_client(OPERATIONS))
    deferred = Deferred(documents, operations, Predictions(proxy, settings.proxy), settings.operations, _now)
    keys = ModelKeys(state, documents, _now, settings.access.cache_seconds)
    return Application(
        uploads=uploads,
        rollouts=rollouts,
        sweep=Sweep(state, store, uploads, queue, timedelta(seconds=settings.schedule.sweep_grace_seconds), _now),
        teardown=teardown,
        control=control,
        proxy=proxy,
        calls=Calls(proxy, state, control, deferred, keys, settings.proxy),
        deferred=deferred,
        keys=keys,
    )


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


def _templates(settings: Settings, blobs: BlobServiceClient) -> Templates:
    serving = settings.serving
    return Templates(
        serving, settings.cluster.gpu_pool, serving.storage_account or blobs.account_name or "",
        serving.storage_resource_group or settings.cluster.resource_group,
    )  # fmt: skip


def _rollout_policy(settings: Settings) -> RolloutPolicy:
    rollout = settings.rollout
    return RolloutPolicy(
        gpu_nodes=settings.cluster.gpu_nodes,
        cluster_limit=timedelta(seconds=rollout.cluster_seconds),
        pods_limit=timedelta(seconds=rollout.pods_seconds),
        prove_limit=timedelta(seconds=rollout.prove_seconds),
        drain=timedelta(seconds=rollout.drain_seconds),
    )


def _idle_policy(settings: Settings) -> IdlePolicy:
    idle, rollout = settings.idle, settings.rollout
    return IdlePolicy(
        enabled=idle.enabled,
        pool_after=timedelta(minutes=idle.pool_after_minutes),
        stop_after=None if idle.stop_after_minutes is None else timedelta(minutes=idle.stop_after_minutes),
        note=timedelta(seconds=idle.activity_seconds),
        wake_limit=timedelta(seconds=rollout.cluster_seconds + rollout.pods_seconds),
    )


def _now() -> datetime:
    return datetime.now(UTC)
