"""KServe's kind InferenceService, which a cluster has only where KServe is installed: its resource and its schema.

Of the predictor, the pod's own fields and those for replicas are known: what a predictor with a container of its own uses in
KServe's Kubernetes mode. ``controllers.inference_services`` makes the Deployment and the Service of it.
"""

from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.resources import RESOURCES, Resource, install
from localcloud.kubernetes.schema import definitions

INFERENCE_SERVICES = Resource(
    "serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices", short_names=("isvc",), in_all=True,
    has_generation=True,
)  # fmt: skip
EXTENSIONS = ("minReplicas", "maxReplicas", "deploymentStrategy")
"""The predictor's fields that are no pod's."""

_PREDICTOR = "io.k8s.api.serving.v1beta1.PredictorSpec"
_STATUS = "io.k8s.api.serving.v1beta1.InferenceServiceStatus"
_NUMBER, _TEXT = {"type": "integer", "format": "int32"}, {"type": "string"}


def install_kserve() -> None:
    """Makes the API servers of this process serve InferenceServices."""
    if not is_installed():
        definitions().update(_definitions())
        install(INFERENCE_SERVICES)


def is_installed() -> bool:
    """Tells whether they do."""
    return INFERENCE_SERVICES in RESOURCES


def _definitions() -> dict[str, Object]:
    pod = definitions()["io.k8s.api.core.v1.PodSpec"]["properties"]
    extensions = {
        "minReplicas": _NUMBER,
        "maxReplicas": _NUMBER,
        "deploymentStrategy": _reference("io.k8s.api.apps.v1.DeploymentStrategy"),
    }
    condition = {
        "type": "object",
        "properties": dict.fromkeys(("type", "status", "reason", "message", "severity", "lastTransitionTime"), _TEXT),
        "required": ["type", "status"],
    }
    conditions = {
        "type": "array", "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
    }  # fmt: skip
    return {
        INFERENCE_SERVICES.definition: {
            "type": "object",
            "properties": {
                "apiVersion": _TEXT,
                "kind": _TEXT,
                "metadata": _reference("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"),
                "spec": {"type": "object", "properties": {"predictor": _reference(_PREDICTOR)}, "required": ["predictor"]},
                "status": _reference(_STATUS),
            },
            "x-kubernetes-group-version-kind": [
                {
                    "group": INFERENCE_SERVICES.group, "version": INFERENCE_SERVICES.version,
                    "kind": INFERENCE_SERVICES.kind,
                }
            ],
        },
        _PREDICTOR: {"type": "object", "properties": {**pod, **extensions}},
        _STATUS: {
            "type": "object",
            "properties": {
                "conditions": conditions, "url": _TEXT, "deploymentMode": _TEXT,
                "address": {"type": "object", "properties": {"url": _TEXT}},
            },
        },
    }  # fmt: skip


def _reference(definition: str) -> Object:
    return {"$ref": f"#/definitions/{definition}"}
