"""Settings: environment variables ``SLIPWAY_GROUP__FIELD``, typed; each says its unit, its default and why.

``local.settings.json.example`` names each of them. The storage account is the Functions app's own
(``AzureWebJobsStorage``, as a connection string or in its identity forms), so it has no setting here.
"""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClusterSettings(_Group):
    """The AKS cluster that serves."""

    subscription_id: str = Field("", description="Azure subscription of the cluster")
    resource_group: str = Field("", description="resource group of the cluster")
    name: str = Field("", description="the managed cluster's name")
    gpu_pool: str = Field("gpu", description="the User node pool that idles to zero; its label is agentpool=NAME")
    gpu_nodes: int = Field(1, ge=1, description="nodes of that pool when awake: one serves one GPU model")
    arm_audience: str = Field(
        "https://management.azure.com", description="what its tokens are asked for; differs likewise"
    )
    arm_url: str = Field(
        "https://management.azure.com", description="Azure Resource Manager; differs in sovereign clouds"
    )


class ServingSettings(_Group):
    """What a pod of TensorFlow Serving looks like."""

    image: str = Field("tensorflow/serving:2.20.0", description="image for models that serve on CPU")
    gpu_image: str = Field("tensorflow/serving:2.20.0-gpu", description="image for models that take a GPU (CUDA 12.5)")
    cpu: str = Field("2", description="CPU request and limit of a pod; also TF Serving's thread counts")
    memory: str = Field("4Gi", description="memory limit of a pod")
    storage_account: str = Field("", description="account that blobfuse mounts; empty: the Functions app's own")
    storage_resource_group: str = Field("", description="resource group of that account; empty: the cluster's")
    mount_client_id: str = Field("", description="client id of the managed identity that mounts the servables")


class ExportSettings(_Group):
    """Bounds of one conversion's subprocess."""

    memory_mb: int = Field(8192, ge=512, description="address space in MiB beyond what importing TensorFlow took")
    wall_seconds: float = Field(480, gt=0, description="seconds a conversion may take; a hang is ended there")
    allowed_layers: tuple[str, ...] = Field(
        (),
        description='JSON list of custom layers to trust, as `["MODULE.CLASS"]`; the modules must be deployed with the app',
    )
    disk_mb: int = Field(8192, ge=64, description="largest file in MiB that a conversion may write")


class RolloutSettings(_Group):
    """The bounds of a rollout's waits."""

    look_again_seconds: int = Field(2, ge=0, description="pause between two looks at pods or nodes")
    cluster_seconds: float = Field(1800, gt=0, description="a cluster and its GPU nodes must be up in this time")
    pods_seconds: float = Field(900, gt=0, description="pods must be ready in this time: image pull and model load")
    prove_seconds: float = Field(60, gt=0, description="ready pods must answer their golden request in this time")
    drain_seconds: float = Field(
        15, ge=0, description="old version kept after the switch: route caches and running requests"
    )


class IdleSettings(_Group):
    """When idle compute goes."""

    enabled: bool = Field(True, description="false: nothing is ever taken down")
    after_minutes: float = Field(30, gt=0, description="without a request, a model's pods go after this many minutes")
    pool_after_minutes: float = Field(5, ge=0, description="the GPU pool goes this long after the last pods")
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
        return {"pods": self.wake_pods_seconds, "pool": self.wake_pool_seconds, "stopped": self.wake_stopped_seconds}


class ProxySettings(_Group):
    """The request path."""

    timeout_seconds: float = Field(60, gt=0, description="longest time one prediction may take")
    connect_seconds: float = Field(2, gt=0, description="longest time to connect to a model server")
    hold_seconds: float = Field(
        200, ge=0, le=220, description="longest hold by Prefer: wait; the platform ends requests at 230 s"
    )
    route_cache_seconds: float = Field(
        2, ge=0, description="age up to which a known route is used; up to twice that, while storage is asked"
    )
    max_body_mb: int = Field(32, ge=1, description="largest request body in MiB")
    max_images: int = Field(64, ge=1, description="most images in one request")
    max_megapixels: int = Field(
        128, ge=1, description="million pixels (2^20) of all images of a request together: what decoding may take"
    )
    max_concurrent: int = Field(
        100, ge=1, description="requests of one model under way in an instance; beyond, callers are told 429 at once"
    )
    max_held: int = Field(100, ge=0, description="requests held by Prefer: wait in an instance; beyond, 503 at once")
    breaker_failures: int = Field(
        5, ge=1, description="failures in a row after which a server is not asked for a while"
    )
    breaker_seconds: float = Field(5, gt=0, description="that while; then one request tries")
    url_accounts: tuple[str, ...] = Field(
        (), description='JSON list of storage accounts whose blobs may be given by `{"url": …}`; none by default'
    )
    url_seconds: float = Field(10, gt=0, description="longest time to fetch such a blob")

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
    rollout: RolloutSettings = RolloutSettings()
    idle: IdleSettings = IdleSettings()
    proxy: ProxySettings = ProxySettings()
    operations: OperationSettings = OperationSettings()
    access: AccessSettings = AccessSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    schedule: ScheduleSettings = ScheduleSettings()
