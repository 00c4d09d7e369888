"""A version as KServe's InferenceService in its Kubernetes mode (RawDeployment, since 0.16 Standard). Pure.

KServe makes ``NAME-predictor``, a Deployment and a Service, and hands the InferenceService's labels and annotations down to
them and to the pods, but for the label ``app``, which it sets itself. With the autoscaler class ``external`` the Deployment
has exactly ``minReplicas``, 0 included; with ``hpa`` KServe makes a HorizontalPodAutoscaler.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from deployer.adapters.pods import number, pods_of, rolled_out, worst_failure
from deployer.names import OPTIONS_ANNOTATION
from deployer.ports import PodFailure, Workload


def predictor(name: str) -> str:
    """The name of the Deployment that KServe makes for an InferenceService."""
    return f"{name}-predictor"


def label(model: str) -> str:
    """The selector of what KServe makes for a model."""
    return f"slipway/model={model}"


def scaled(replicas: int) -> dict[str, Any]:
    """The merge patch that sets the replicas of an InferenceService without an autoscaler."""
    return {"spec": {"predictor": {"minReplicas": replicas}}}


def is_autoscaled(service: Mapping[str, Any]) -> bool:
    """Whether KServe leaves the replicas to an autoscaler.

    Such a Deployment does not go to 0, and could not come back: the autoscaler rests while it is there. It must go whole.
    """
    return bool(service["metadata"].get("annotations", {}).get("serving.kserve.io/autoscalerClass") == "hpa")


def workload(
    service: Mapping[str, Any],
    deployment: Mapping[str, Any] | None,
    pods: Iterable[Mapping[str, Any]],
    address: str | None,
) -> Workload:
    """A version from its InferenceService and the Deployment that KServe made of it, if it has done so yet."""
    metadata, minimum = service["metadata"], service["spec"]["predictor"].get("minReplicas", 1)
    version = metadata["labels"]["version"]
    mine = pods_of(pods, version)
    complete = (
        minimum > 0 and deployment is not None and _is_ready(service) and _follows(deployment, service) and rolled_out(deployment)
    )  # fmt: skip
    return Workload(
        version=number(version) or 0, replicas=minimum, complete=complete, pods=len(mine), options=_options(service),
        failure=worst_failure(mine) or (_refusal(service) if deployment is None else None), address=address,
    )  # fmt: skip


def _follows(deployment: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    """Whether KServe has seen the newest InferenceService: its status does not say, but the Deployment it makes does."""
    predictor = service["spec"]["predictor"]
    minimum = predictor.get("minReplicas", 1)
    replicas = deployment["spec"].get("replicas", 1)
    return _options(deployment) == _options(service) and minimum <= replicas <= max(
        minimum, predictor.get("maxReplicas", 1)
    )


def _options(item: Mapping[str, Any]) -> str:
    return str(item["metadata"].get("annotations", {}).get(OPTIONS_ANNOTATION, ""))


def _is_ready(service: Mapping[str, Any]) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in _conditions(service))


def _refusal(service: Mapping[str, Any]) -> PodFailure | None:
    """What KServe says where it made no Deployment of the InferenceService."""
    for item in _conditions(service):
        if item["type"] == "PredictorReady" and item["status"] == "False" and item.get("message"):
            return PodFailure(item.get("reason") or "InferenceService", item["message"], fatal=False)
    return None


def _conditions(service: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return service.get("status", {}).get("conditions") or []
