"""Fills ``k8s_templates/export-job.yaml`` for one conversion. Pure but for reading it."""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from deployer.errors import SlipwayError
from deployer.settings import ExportSettings, UploadSettings
from deployer.templates import CLIENT_ID, Manifest, Templates, load

_IDENTITY = "azure.workload.identity/use"
_CONNECTION = "AzureWebJobsStorage"
_OVERHEAD_MB = (
    2048  # TensorFlow's import, before which the exporter does not count, and the process that moves the files
)
_COPIES = 3  # of the model on disk: as uploaded, unpacked, and as a servable


@dataclass(frozen=True)
class JobTemplate:
    """Renders conversions for one cluster and one storage account.

    ``storage``: the environment variables by which the app reaches it, ``AzureWebJobsStorage`` and its kin.
    """

    templates: Templates
    export: ExportSettings
    uploads: UploadSettings
    node_selector: Mapping[str, str]
    storage: Mapping[str, str]
    json_logs: bool = False

    def __call__(self, model: str, stem: str, job: str) -> list[Manifest]:
        """All that the Job needs, in the order in which to apply it.

        Raises:
            SlipwayError: ``no_job_image``, ``no_job_identity``: settings without which there can be no Job.
        """
        if not self.export.job_image:
            raise SlipwayError(
                "no_job_image", "No image of the exporter is configured, so no conversion can run as a Job.",
                "Build infra/exporter/Dockerfile and set SLIPWAY_EXPORT__JOB_IMAGE, or SLIPWAY_EXPORT__WHERE=function.",
            )  # fmt: skip
        by_identity = not self.storage.get(_CONNECTION)
        if by_identity and not self.export.job_client_id:
            raise SlipwayError(
                "no_job_identity", "A Job has no identity with which to reach the storage.",
                "Set SLIPWAY_EXPORT__JOB_CLIENT_ID: see docs/guides/big-models.md.",
            )  # fmt: skip
        manifests = {manifest["kind"]: manifest for manifest in load("export-job.yaml")}
        if by_identity:
            del manifests["Secret"]
            manifests["ServiceAccount"]["metadata"]["annotations"] = {CLIENT_ID: self.export.job_client_id}
        else:
            value = base64.b64encode(self.storage[_CONNECTION].encode()).decode()
            manifests["Secret"]["data"] = {_CONNECTION: value}
            del manifests["ServiceAccount"]["metadata"]["annotations"]
        self._fill(manifests["Job"], model, stem, job, by_identity=by_identity)
        return [*self.templates.namespace(), *manifests.values()]

    def _fill(self, manifest: Manifest, model: str, stem: str, job: str, *, by_identity: bool) -> None:
        inside, spec = self.export.in_job, manifest["spec"]
        template = spec["template"]
        manifest["metadata"]["name"] = job
        for metadata in (manifest["metadata"], template["metadata"]):
            metadata["labels"]["app"] = model
        spec["activeDeadlineSeconds"] = math.ceil(self.export.job_deadline.total_seconds())
        pod = template["spec"]
        if self.node_selector:
            pod["nodeSelector"] = dict(self.node_selector)
        else:
            del pod["nodeSelector"]
        (container,) = pod["containers"]
        container["image"] = self.export.job_image
        container["args"] = [f"--upload={stem}", f"--job={job}"]  # a stem has no "$", which Kubernetes would read
        environment = self._settings()
        if by_identity:
            template["metadata"]["labels"][_IDENTITY] = "true"
            del container["envFrom"]
            environment |= self.storage
        container["env"] += [{"name": name, "value": _literal(value)} for name, value in environment.items()]
        size = {"cpu": self.export.job_cpu, "memory": f"{inside.memory_mb + _OVERHEAD_MB}Mi"}
        container["resources"] = {"requests": dict(size), "limits": dict(size)}
        (volume,) = pod["volumes"]
        volume["emptyDir"]["sizeLimit"] = f"{_COPIES * inside.disk_mb}Mi"

    def _settings(self) -> dict[str, str]:
        """The app's settings that count in the Job's process."""
        inside = self.export.in_job
        return {
            "SLIPWAY_EXPORT__MEMORY_MB": str(inside.memory_mb),
            "SLIPWAY_EXPORT__WALL_SECONDS": f"{inside.wall_seconds:g}",
            "SLIPWAY_EXPORT__DISK_MB": str(inside.disk_mb),
            "SLIPWAY_EXPORT__ALLOWED_LAYERS": json.dumps(inside.allowed_layers),
            "SLIPWAY_UPLOADS__ATTEMPTS": str(self.uploads.attempts),
            "SLIPWAY_UPLOADS__RETRY_MINUTES": f"{self.uploads.retry_minutes:g}",
            "SLIPWAY_TELEMETRY__JSON_LOGS": str(self.json_logs).lower(),
        }


def _literal(value: str) -> str:
    """The value as Kubernetes must be given it, which replaces ``$(NAME)``."""
    return value.replace("$(", "$$(")
