"""Fills ``k8s_templates/``: plain YAML for a model "example", in which values are set by their place. Pure but for reading it.

Each template can be applied by kubectl as it stands; what is set is said at the top of each file. What the pod of a version
gets is ``deployer.model_server``'s to say.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deployer.model_server import configuration, fill_pod
from deployer.names import OPTIONS_ANNOTATION, bridge_name, stable_service, version_object
from deployer.options import Replicas
from deployer.record import VersionRecord
from deployer.settings import ServingSettings

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
CLIENT_ID = "azure.workload.identity/client-id"

_FOLDER = Path(__file__).parent.parent / "k8s_templates"
_INTERNAL = "service.beta.kubernetes.io/azure-load-balancer-internal"
_MODEL = "slipway/model"  # on a version's pods in either flavor: KServe sets "app" itself

_READ_AHEAD = {"--file-cache-timeout-in-seconds=120": "--file-cache-timeout-in-seconds=900"}

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Templates:
    """Renders the objects of a model for one cluster.

    ``gpu_node_selector``: labels of the nodes for pods that take a GPU. ``request_seconds``: longest time of one prediction.
    """

    serving: ServingSettings
    gpu_node_selector: Mapping[str, str]
    storage_account: str
    storage_resource_group: str
    request_seconds: float
    bridge_node_selector: Mapping[str, str] = field(default_factory=dict)

    def version(self, model: str, version: VersionRecord, replicas: int) -> list[Manifest]:
        """All that a version needs, in the order in which to apply it: the namespace and its volume come first."""
        return self._version(model, model, version, replicas, {})

    def bridge(self, model: str, version: VersionRecord) -> list[Manifest]:
        """The same for a replica of a version of a GPU model on CPU, under a name of its own, on the bridges' nodes."""
        serve = version.serve.model_copy(update={"gpus": 0, "replicas": Replicas()})
        placed: Manifest = {"tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}]}
        if self.bridge_node_selector:
            placed["nodeSelector"] = dict(self.bridge_node_selector)
        return self._version(bridge_name(model), model, version.but(serve=serve), 1, placed)

    def _version(
        self, called: str, model: str, version: VersionRecord, replicas: int, placed: Manifest
    ) -> list[Manifest]:
        """The objects called so, serving this model; ``placed`` goes into the pod's specification."""
        name, labels = version_object(called, version.version), {"app": called, "version": f"v{version.version}"}
        manifests = load("version.yaml")
        for manifest in manifests:
            manifest["metadata"]["name"] = name
            manifest["metadata"]["labels"] |= labels
            match manifest["kind"]:
                case "ConfigMap":
                    del manifest["data"]["batching.config"]
                    manifest["data"] |= configuration(self.serving, model, version)
                case "Service":
                    self._fill_service(manifest, self._selector(labels))
                case "PodDisruptionBudget":
                    manifest["spec"]["selector"]["matchLabels"] = self._selector(labels)
                case "Deployment":
                    manifest["metadata"]["annotations"] = {OPTIONS_ANNOTATION: version.serve.rendered}
                    spec = manifest["spec"]
                    spec["replicas"] = replicas
                    spec["selector"]["matchLabels"] = dict(labels)
                    spec["template"]["metadata"]["labels"] |= labels | {_MODEL: called}
                    fill_pod(
                        spec["template"]["spec"], self.serving, self.gpu_node_selector, model, version,
                        self.request_seconds, config=name,
                    )  # fmt: skip
                    spec["template"]["spec"] |= placed
        if self.serving.flavor == "kserve":
            manifests = [
                _inference_service(manifest, version) if manifest["kind"] == "Deployment" else manifest
                for manifest in manifests
            ]
        elif _varies(version):
            manifests.append(_autoscaler(name, labels, version))
        return [*self.namespace(), *manifests]

    def stable(self, model: str, version: int) -> list[Manifest]:
        """The stable Service, selecting this version."""
        (service,) = load("stable-service.yaml")
        service["metadata"]["name"] = stable_service(model)
        service["metadata"]["labels"]["app"] = model
        service["spec"]["selector"] = self._selector({"app": model, "version": f"v{version}"})
        return [service]

    def _selector(self, labels: Mapping[str, str]) -> dict[str, str]:
        """What selects a version's pods: KServe sets a label "app" of its own on them."""
        if self.serving.flavor == "kserve":
            return {_MODEL: labels["app"], "version": labels["version"]}
        return dict(labels)

    def namespace(self) -> list[Manifest]:
        """The namespace, its account and network policy, and the volume of servables."""
        manifests = {manifest["kind"]: manifest for manifest in load("namespace.yaml")}
        volume = manifests["PersistentVolume"]["spec"]
        if self.serving.reads_ahead:
            volume["mountOptions"] = [_READ_AHEAD.get(option, option) for option in volume["mountOptions"]]
        attributes = volume["csi"]["volumeAttributes"]
        attributes |= {"storageAccount": self.storage_account, "resourceGroup": self.storage_resource_group}
        client_id = self.serving.mount_client_id
        del attributes["AzureStorageIdentityClientID"], manifests["ServiceAccount"]["metadata"]["annotations"]
        match self.serving.mount_identity:
            case "managed" if client_id:
                attributes["AzureStorageIdentityClientID"] = client_id
            case "managed":
                pass
            case "workload":
                del attributes["AzureStorageAuthType"]
                attributes |= {"clientID": client_id, "mountWithWorkloadIdentityToken": "true"}
                manifests["ServiceAccount"]["metadata"]["annotations"] = {CLIENT_ID: client_id}
        return list(manifests.values())

    def _fill_service(self, service: Manifest, selector: dict[str, str]) -> None:
        service["spec"]["selector"] = selector
        if self.serving.service != "internal":
            del service["metadata"]["annotations"]
        if self.serving.service == "cluster-ip":
            service["spec"]["type"] = "ClusterIP"


def _varies(version: VersionRecord) -> bool:
    return version.serve.replicas.max > version.serve.replicas.min


def _autoscaler(name: str, labels: Mapping[str, str], version: VersionRecord) -> Manifest:
    (scaler,) = load("autoscaler.yaml")
    scaler["metadata"]["name"] = name
    scaler["metadata"]["labels"] |= labels
    scaler["spec"]["scaleTargetRef"]["name"] = name
    scaler["spec"] |= {"minReplicas": version.serve.replicas.min, "maxReplicas": version.serve.replicas.max}
    return scaler


def _inference_service(deployment: Manifest, version: VersionRecord) -> Manifest:
    """The InferenceService in the place of a version's Deployment, with the same pod."""
    (service,) = load("kserve.yaml")
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    metadata["name"] = deployment["metadata"]["name"]
    template = deployment["spec"]["template"]
    metadata["labels"] |= template["metadata"]["labels"]
    metadata["annotations"] |= deployment["metadata"]["annotations"] | template["metadata"]["annotations"]
    pod = template["spec"]
    pod["containers"][0]["name"] = predictor["containers"][0]["name"]
    replicas = deployment["spec"]["replicas"]
    predictor |= pod | {"minReplicas": replicas, "maxReplicas": replicas}
    if _varies(version):
        metadata["annotations"][AUTOSCALER_CLASS] = "hpa"
        predictor["maxReplicas"] = version.serve.replicas.max
    return service


@cache
def _read(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((_FOLDER / name).read_text(encoding="utf-8")))


def load(name: str) -> list[Manifest]:
    """The objects of a template, to be changed at will."""
    return deepcopy(_read(name))
