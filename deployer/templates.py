"""Fills ``k8s_templates/``: plain YAML for a model "example", in which values are set by their place. Pure but for reading it.

Each template can be applied by kubectl as it stands; what is set is said at the top of each file.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deployer.names import OPTIONS_ANNOTATION, stable_service, version_object
from deployer.record import VersionRecord
from deployer.settings import ServingSettings

_FOLDER = Path(__file__).parent.parent / "k8s_templates"
_GPU = "nvidia.com/gpu"

_UNITS = {
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Templates:
    """Renders the objects of a model for one cluster."""

    serving: ServingSettings
    gpu_pool: str
    storage_account: str
    storage_resource_group: str

    def version(self, model: str, version: VersionRecord, replicas: int) -> list[Manifest]:
        """All that a version needs, in the order in which to apply it: the namespace and its volume come first."""
        name, labels = version_object(model, version.version), {"app": model, "version": f"v{version.version}"}
        manifests = [*self._namespace(), *_load("version.yaml")]
        for manifest in manifests:
            if manifest["metadata"].get("name") == "tfs-example-v1":
                manifest["metadata"]["name"] = name
                manifest["metadata"]["labels"] |= labels
            match manifest["kind"]:
                case "ConfigMap":
                    manifest["data"]["models.config"] = _model_config(model, version.version)
                case "Service":
                    manifest["spec"]["selector"] = labels
                case "PodDisruptionBudget":
                    manifest["spec"]["selector"]["matchLabels"] = labels
                case "Deployment":
                    manifest["metadata"]["annotations"] = {OPTIONS_ANNOTATION: version.serve.rendered}
                    self._fill_deployment(manifest["spec"], name, labels, version, replicas)
        wanted = version.serve.replicas
        if wanted.max > wanted.min:
            manifests.append(_autoscaler(name, labels, wanted.min, wanted.max))
        return manifests

    def stable(self, model: str, version: int) -> list[Manifest]:
        """The stable Service, selecting this version."""
        (service,) = _load("stable-service.yaml")
        service["metadata"]["name"] = stable_service(model)
        service["metadata"]["labels"]["app"] = model
        service["spec"]["selector"] = {"app": model, "version": f"v{version}"}
        return [service]

    def _namespace(self) -> list[Manifest]:
        manifests = _load("namespace.yaml")
        attributes = next(item for item in manifests if item["kind"] == "PersistentVolume")["spec"]["csi"][
            "volumeAttributes"
        ]
        attributes |= {"storageAccount": self.storage_account, "resourceGroup": self.storage_resource_group}
        if self.serving.mount_client_id:
            attributes["AzureStorageIdentityClientID"] = self.serving.mount_client_id
        else:
            del attributes["AzureStorageIdentityClientID"]
        return manifests

    def _fill_deployment(
        self, spec: Manifest, name: str, labels: Mapping[str, str], version: VersionRecord, replicas: int
    ) -> None:
        gpus = version.serve.gpus
        spec["replicas"] = replicas
        spec["selector"]["matchLabels"] = dict(labels)
        spec["template"]["metadata"]["labels"] |= labels
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        limits = container["resources"]["limits"]
        limits |= {"cpu": self.serving.cpu, "memory": self.serving.memory}
        requests = container["resources"]["requests"]
        requests |= {name: min(requests[name], limits[name], key=_amount) for name in requests}
        if gpus:
            container["image"] = self.serving.gpu_image
            limits[_GPU] = str(gpus)
            pod["nodeSelector"]["agentpool"] = self.gpu_pool
        else:
            container["image"] = self.serving.image
            for key in ("nodeSelector", "tolerations"):
                del pod[key]
            del limits[_GPU]
        model = labels["app"]
        ready = f"/v1/models/{model}/versions/{version.version}"
        container["startupProbe"]["httpGet"]["path"] = f"{ready}/metadata"
        container["readinessProbe"]["httpGet"]["path"] = f"{ready}/metadata"
        container["livenessProbe"]["httpGet"]["path"] = ready
        container["args"] = [self._argument(argument) for argument in container["args"]]
        next(volume for volume in pod["volumes"] if volume["name"] == "config")["configMap"]["name"] = name

    def _argument(self, argument: str) -> str:
        flag, _, _ = argument.partition("=")
        if flag in ("--tensorflow_intra_op_parallelism", "--tensorflow_inter_op_parallelism"):
            return f"{flag}={max(1, int(_amount(self.serving.cpu)))}"
        return argument


def _amount(quantity: str) -> float:
    """A Kubernetes quantity as a number: "500m" is 0.5, "4Gi" is 4 × 2³⁰."""
    number = quantity.rstrip("".join(_UNITS) + "i")
    return float(number) * _UNITS[quantity[len(number) :]] if quantity != number else float(number)


def _model_config(model: str, version: int) -> str:
    return (
        "model_config_list {\n  config {\n"
        f'    name: "{model}"\n    base_path: "/models/{model}"\n    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ versions: {version} }} }}\n"
        "  }\n}\n"
    )


def _autoscaler(name: str, labels: Mapping[str, str], low: int, high: int) -> Manifest:
    (scaler,) = _load("autoscaler.yaml")
    scaler["metadata"]["name"] = name
    scaler["metadata"]["labels"] |= labels
    scaler["spec"]["scaleTargetRef"]["name"] = name
    scaler["spec"] |= {"minReplicas": low, "maxReplicas": high}
    return scaler


@cache
def _read(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((_FOLDER / name).read_text(encoding="utf-8")))


def _load(name: str) -> list[Manifest]:
    return deepcopy(_read(name))
