"""Settings: environment variables ``SLIPWAY_GROUP__FIELD``, typed; each says its unit, its default and why.

``local.settings.json.example`` names each of them. The storage account is the Functions app's own
(``AzureWebJobsStorage``, as a connection string or in its identity forms), so it has no setting here.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployer.windows import Window


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClusterSettings(_Group):
    """The AKS cluster that serves, or with a kubeconfig any other."""

    kubeconfig: str = Field(
        "",
        description="path or YAML text of a kubeconfig: any existing cluster instead of AKS, whose nodes are left alone",
    )
    context: str = Field("", description="context of that kubeconfig; empty: its current one")
    subscription_id: str = Field("", description="Azure subscription of the cluster")
    resource_group: str = Field("", description="resource group of the cluster")
    name: str = Field("", description="the managed cluster's name")
    gpu_pool: str = Field("gpu", description="the User node pool that idles to zero; its label is agentpool=NAME")
    gpu_nodes: int = Field(1, ge=1, description="nodes of that pool when awake: one serves one GPU model")
    fallback_pools: tuple[str, ...] = Field(
        (),
        description='JSON list of pools, as `["gpuspot"]`, tried in turn when Azure has no quota or capacity for the GPU pool',
    )
    arm_audience: str = Field(
        "https://management.azure.com", description="what its tokens are asked for; differs likewise"
    )
    arm_url: str = Field(
        "https://management.azure.com", description="Azure Resource Manager; differs in sovereign clouds"
    )

    @property
    def gpu_pools(self) -> tuple[str, ...]:
        """The GPU pool, and those to try in its place."""
        return (self.gpu_pool, *(pool for pool in self.fallback_pools if pool != self.gpu_pool))


class ServingSettings(_Group):
    """What a pod of TensorFlow Serving looks like."""

    flavor: Literal["kubeflow", "kserve"] = Field(
        "kubeflow",
        description="`kubeflow`: a Deployment per version; `kserve`: an InferenceService, where KServe is installed",
    )
    service: Literal["internal", "load-balancer", "cluster-ip"] = Field(
        "internal",
        description="a version's Service: Azure's `internal` load balancer, the cluster's own `load-balancer` (which may be "
        "public), or `cluster-ip` for an app that reaches the cluster's Service addresses",
    )
    image: str = Field("tensorflow/serving:2.20.0", description="image for models that serve on CPU")
    gpu_image: str = Field("tensorflow/serving:2.20.0-gpu", description="image for models that take a GPU (CUDA 12.5)")
    prefetch_image: str = Field(
        "",
        description="image with `sh`, `find` and `cat`, such as `busybox:1.37.0`, whose container reads the servable onto the "
        "node while the model server's image is pulled; empty: no read-ahead. Kubernetes 1.29 or newer; not with `kserve`",
    )
    cpu: str = Field("2", description="CPU request and limit of a pod; also TF Serving's thread counts")
    memory: str = Field("4Gi", description="memory limit of a pod; twice the servable and 1 GiB, where that is more")
    gpu_node_selector: dict[str, str] = Field(
        {},
        description="JSON of the labels of nodes for pods that take a GPU; empty: the GPU pool, with a kubeconfig any node "
        "that offers `nvidia.com/gpu`",
    )
    gpu_memory_fraction: float = Field(
        0.9, gt=0, le=1, description="share of its GPUs' memory that TF Serving takes; the rest is CUDA's own"
    )
    batching: Literal["auto", "always", "never"] = Field(
        "auto",
        description="concurrent requests run together on a GPU, where every signature of the servable can; `auto`: not where "
        "one takes strings, such as images, for one that cannot be decoded would fail those beside it",
    )
    storage_account: str = Field("", description="account that blobfuse mounts; empty: the Functions app's own")
    storage_resource_group: str = Field("", description="resource group of that account; empty: the cluster's")
    mount_identity: Literal["managed", "workload"] = Field(
        "managed",
        description="who mounts the servables: a `managed` identity of the nodes, or the `workload` identity of the pods' "
        "service account",
    )
    mount_client_id: str = Field("", description="client id of that identity; with `managed` empty: the kubelet's own")

    @property
    def reads_ahead(self) -> bool:
        """Whether pods have the sidecar. A KServe whose schema of sidecars is older would have the pod wait for its end."""
        return bool(self.prefetch_image) and self.flavor == "kubeflow"


class ExportSettings(_Group):
    """Where conversions run, and the bounds of one conversion's subprocess there.

    As a Kubernetes Job: [big models](../guides/big-models.md).
    """

    where: Literal["function", "job", "auto"] = Field(
        "function",
        description="in the `function`, as a Kubernetes `job`, or `auto`: as a Job what is larger than `JOB_ABOVE_MB`",
    )

    memory_mb: int = Field(8192, ge=512, description="address space in MiB beyond what importing TensorFlow took")
    wall_seconds: float = Field(480, gt=0, description="seconds a conversion may take; a hang is ended there")
    allowed_layers: tuple[str, ...] = Field(
        (),
        description='JSON list of custom layers to trust, as `["MODULE.CLASS"]`; the modules must be deployed with the app',
    )
    disk_mb: int = Field(8192, ge=64, description="largest file in MiB that a conversion may write")
    job_above_mb: int = Field(512, ge=0, description="size in MiB of an upload above which `auto` means a Job")
    job_image: str = Field("", description="image of the exporter, made by `infra/exporter/Dockerfile`")
    job_memory_mb: int | None = Field(
        None, ge=512, description="`MEMORY_MB` of a Job, whose pod may have 2 GiB more; empty: the same"
    )
    job_wall_seconds: float | None = Field(
        None, gt=0, description="`WALL_SECONDS` of a Job, which may take half an hour more in all; empty: the same"
    )
    job_disk_mb: int | None = Field(
        None, ge=64, description="`DISK_MB` of a Job, whose pod may have three times that in all; empty: the same"
    )
    job_cpu: str = Field("2", description="CPU request and limit of a Job's pod")
    job_node_selector: dict[str, str] = Field(
        {"kubernetes.azure.com/mode": "system"},
        description="JSON of the labels of a Job's nodes: AKS's system pool; any node on clusters of a kubeconfig, and for `{}`",
    )
    job_client_id: str = Field(
        "", description="client id of the identity with which a Job reaches the storage, unless by a connection string"
    )
    job_look_seconds: int = Field(10, ge=1, description="pause between two looks at a Job")

    @property
    def in_job(self) -> "ExportSettings":
        """What holds in a Job's process."""
        return self.model_copy(
            update={
                "where": "function", "memory_mb": self.job_memory_mb or self.memory_mb,
                "wall_seconds": self.job_wall_seconds or self.wall_seconds, "disk_mb": self.job_disk_mb or self.disk_mb,
            }
        )  # fmt: skip

    @property
    def job_deadline(self) -> timedelta:
        """From a Job's making on: for a node, its image and the transfers there is half an hour beside the conversion."""
        return timedelta(seconds=self.in_job.wall_seconds) + timedelta(minutes=30)


class UploadSettings(_Group):
    """How uploads are taken."""

    attempts: int = Field(
        5, ge=1, description="an upload that fails for what may heal is given up after so many attempts"
    )
    retry_minutes: float = Field(
        1, gt=0, description="pause before the sweep takes such an upload again; doubles each time, up to an hour"
    )
    settle_seconds: float = Field(
        60, ge=0, description="a directory of which only some files were overwritten is left in peace for this long"
    )
    unfinished_minutes: float = Field(
        30, gt=0, description="a directory that lacks files this long after its newest is reported as unfinished"
    )
    retire_deleted: bool = Field(False, description="true: a model whose upload is deleted is retired")


class RolloutSettings(_Group):
    """The bounds of a rollout's waits."""

    look_again_seconds: int = Field(
        2, ge=0, description="pause between two looks at pods or nodes; 1 while pods are new"
    )
    cluster_seconds: float = Field(1800, gt=0, description="a cluster and its GPU nodes must be up in this time")
    pods_seconds: float = Field(900, gt=0, description="pods must be ready in this time: image pull and model load")
    prove_seconds: float = Field(60, gt=0, description="ready pods must answer their golden request in this time")
    drain_seconds: float = Field(
        15,
        ge=0,
        description="old version kept after the switch, for running requests: more than twice the time that routes are cached",
    )


class IdleSettings(_Group):
    """When idle compute goes."""

    enabled: bool = Field(True, description="false: nothing is ever taken down")
    after_minutes: float = Field(30, gt=0, description="without a request, a model's pods go after this many minutes")
    pool_after_minutes: float | None = Field(
        5, ge=0, description="the GPU pool goes this long after the last pods; null: as soon as that pays"
    )
    stop_after_minutes: float | None = Field(
        None, gt=0, description="the cluster stops this long after the pool; never by default"
    )
    wake_pods_seconds: float = Field(
        60, gt=0, description="first guess at a wake from pods at 0; then this cluster's own times"
    )
    wake_pool_seconds: float = Field(
        420, gt=0, description="first guess at a wake from a GPU pool at 0: 5 to 11 min on AKS"
    )
    wake_stopped_seconds: float = Field(600, gt=0, description="first guess at a wake of a stopped cluster")
    wake_deleted_seconds: float = Field(1800, gt=0, description="what making a deleted cluster anew takes, roughly")
    min_awake_minutes: float = Field(10, ge=0, description="what was woken stays awake for at least this long")
    max_wake_seconds: float | None = Field(
        None, gt=0, description="a rung is not gone to if nine wakes of ten from it take longer"
    )
    wake_test_days: float | None = Field(
        None, gt=0, description="after so long asleep a model is woken to see that it can be; never by default"
    )
    delete_after_days: float | None = Field(
        None, gt=0, description="a stopped cluster with the tag slipway-may-delete=NAME is deleted; never by default"
    )
    restart_gap_minutes: float = Field(20, ge=0, description="between a cluster's stop and start; AKS wants 15 to 30")
    keep_awake: tuple[Window, ...] = Field(
        (),
        description='JSON list of hours of use, as `[{"cron": "0 8 * * mon-fri", "hours": 10, "zone": "Europe/Berlin"}]`',
    )
    days_off: tuple[date, ...] = Field((), description='JSON list of days without hours of use, as `["2026-12-25"]`')
    order_minutes: float = Field(60, gt=0, description="how long a sleep, wake or hold by hand outranks all this")
    activity_seconds: float = Field(
        30, gt=0, description="a request is noted in storage at most once per this time and instance"
    )

    @property
    def after(self) -> timedelta:
        """Time without a request after which pods go."""
        return timedelta(minutes=self.after_minutes)

    @property
    def wake_seconds(self) -> dict[str, float]:
        """The first guesses by rung."""
        return {
            "pods": self.wake_pods_seconds,
            "pool": self.wake_pool_seconds,
            "stopped": self.wake_stopped_seconds,
            "deleted": self.wake_deleted_seconds,
        }


class PriceSettings(_Group):
    """What nodes cost, for the ledger and the choice of rungs."""

    currency: str = Field("USD", description="of all prices; those built in are in US dollars")
    per_hour: dict[str, float] = Field(
        {}, description='JSON of VM sizes and prices, as `{"Standard_NC4as_T4_v3": 0.526}`; before those built in'
    )


class BridgeSettings(_Group):
    """A replica on CPU that answers for a model on GPUs while that sleeps or wakes, marked `x-slipway-served-by: cpu-bridge`."""

    enabled: bool = Field(
        False, description="true: each model on GPUs that served before has one while none of its GPU pods does"
    )
    node_selector: dict[str, str] = Field(
        {"kubernetes.azure.com/mode": "system"},
        description="JSON of the labels of its nodes: AKS's system pool; `{}` for any node, as on clusters of a kubeconfig",
    )


class ProxySettings(_Group):
    """The request path."""

    timeout_seconds: float = Field(60, gt=0, description="longest time one prediction may take")
    connect_seconds: float = Field(2, gt=0, description="longest time to connect to a model server")
    recovery_seconds: float = Field(
        15,
        ge=0,
        description="how long a request whose model server has gone waits for it to come back; during a rollout, as long as "
        "a prediction may take",
    )
    hold_seconds: float = Field(
        200, ge=0, le=220, description="longest hold by Prefer: wait; the platform ends requests at 230 s"
    )
    route_cache_seconds: float = Field(
        2,
        ge=0,
        description="age up to which a known route is used; up to twice that, while storage is asked. Half a second while a "
        "rollout is under way",
    )
    figures_seconds: float = Field(
        10,
        gt=0,
        description="errors and requests of a version on trial are noted at most once per this time and instance",
    )
    max_body_mb: int = Field(32, ge=1, description="largest request body in MiB")
    max_images: int = Field(64, ge=1, description="most images in one request")
    max_megapixels: int = Field(
        128, ge=1, description="million pixels (2^20) of all images of a request together: what decoding may take"
    )
    max_concurrent: int = Field(
        100, ge=1, description="requests of one model under way in an instance; beyond, callers are told 429 at once"
    )
    max_in_flight_mb: int = Field(
        256,
        ge=1,
        description="MiB of all request bodies under way or held in an instance; beyond, callers are told 429 at once",
    )
    max_answer_mb: int = Field(64, ge=1, description="largest answer of a model server in MiB; beyond, 502")
    max_held: int = Field(100, ge=0, description="requests held by Prefer: wait in an instance; beyond, 503 at once")
    breaker_failures: int = Field(
        5, ge=1, description="failures in a row after which a server is not asked for a while"
    )
    breaker_seconds: float = Field(5, gt=0, description="that while; then one request tries")
    url_accounts: tuple[str, ...] = Field(
        (), description='JSON list of storage accounts whose blobs may be given by `{"url": …}`; none by default'
    )
    url_seconds: float = Field(10, gt=0, description="longest time to fetch such a blob")

    @model_validator(mode="after")
    def _bodies_fit(self) -> "ProxySettings":
        if self.max_in_flight_mb < self.max_body_mb:
            raise ValueError(
                f"SLIPWAY_PROXY__MAX_IN_FLIGHT_MB is {self.max_in_flight_mb}, less than one body of "
                f"SLIPWAY_PROXY__MAX_BODY_MB = {self.max_body_mb}: raise the first or lower the second."
            )
        return self

    @property
    def max_pixels(self) -> int:
        """Pixels of all images of a request together."""
        return self.max_megapixels << 20


class OperationSettings(_Group):
    """Predictions asked for with `Prefer: respond-async`."""

    wait_seconds: float = Field(1800, gt=0, description="how long an operation waits for its model to wake")
    keep_seconds: float = Field(3600, gt=0, description="how long it can be asked for after it was last written")
    max_waiting: int = Field(200, ge=1, description="operations of one model that wait at once; beyond, 429")


class AccessSettings(_Group):
    """Keys of single models."""

    cache_seconds: float = Field(10, ge=0, description="how long a key that was removed may still be taken")


class TelemetrySettings(_Group):
    """What the app says of itself."""

    json_logs: bool = Field(False, description="write Slipway's own log as JSON lines to standard output")


class ScheduleSettings(_Group):
    """The timers, as six-field NCRONTAB (seconds first)."""

    sweep: str = Field("0 * * * * *", description="looks for what events missed: every minute")
    teardown: str = Field("0 */5 * * * *", description="decides on idle compute: every five minutes")
    sweep_grace_seconds: float = Field(60, ge=0, description="an upload is left to its event for this long")


class Settings(BaseSettings):
    """All settings, read from the environment once per process."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_", env_nested_delimiter="__", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    cluster: ClusterSettings = ClusterSettings()
    serving: ServingSettings = ServingSettings()
    export: ExportSettings = ExportSettings()
    uploads: UploadSettings = UploadSettings()
    rollout: RolloutSettings = RolloutSettings()
    idle: IdleSettings = IdleSettings()
    prices: PriceSettings = PriceSettings()
    bridge: BridgeSettings = BridgeSettings()
    proxy: ProxySettings = ProxySettings()
    operations: OperationSettings = OperationSettings()
    access: AccessSettings = AccessSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    schedule: ScheduleSettings = ScheduleSettings()

    @model_validator(mode="after")
    def _drains_longer_than_routes_are_known(self) -> "Settings":
        drain, known = self.rollout.drain_seconds, self.proxy.route_cache_seconds
        if drain <= 2 * known and known > 0:
            raise ValueError(
                f"SLIPWAY_ROLLOUT__DRAIN_SECONDS is {drain:g}, and a proxy may use a route for up to 2 × {known:g} s "
                "(SLIPWAY_PROXY__ROUTE_CACHE_SECONDS): the version before would go while it is still asked. Set the first to "
                f"more than {2 * known:g}, or lower the second."
            )
        return self

    @property
    def gpu_node_selector(self) -> Mapping[str, str]:
        """The labels of the nodes on which models take GPUs; none: any node that offers GPUs.

        Values with a comma between them: any of these.
        """
        if self.serving.gpu_node_selector or self.cluster.kubeconfig:
            return self.serving.gpu_node_selector
        return {"agentpool": ",".join(self.cluster.gpu_pools)}

    @property
    def job_node_selector(self) -> Mapping[str, str]:
        """The labels of the nodes for conversions; likewise."""
        return {} if self.cluster.kubeconfig else self.export.job_node_selector

    @property
    def bridge_node_selector(self) -> Mapping[str, str]:
        """The labels of the nodes for bridges; none on clusters of a kubeconfig, which may know no system pool."""
        return {} if self.cluster.kubeconfig else self.bridge.node_selector
