"""The ``scale`` subresource: how many replicas are wanted, and how many there are."""

from localcloud.kubernetes.errors import Subject, bad_request, invalid, wrong
from localcloud.kubernetes.objects import Object, dig
from localcloud.kubernetes.resources import Resource


def scale_of(item: Object) -> Object:
    """Returns the Scale of a Deployment or ReplicaSet."""
    metadata = {
        field: item["metadata"][field]
        for field in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if field in item["metadata"]
    }
    replicas = item["spec"].get("replicas", 0)
    spec = {"replicas": replicas} if replicas else {}
    status: Object = {"replicas": dig(item, "status", "replicas") or 0}
    labels = dig(item, "spec", "selector", "matchLabels") or {}
    if labels:
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def scaled(resource: Resource, item: Object, scale: Object) -> Object:
    """Returns ``item`` with the replicas that ``scale`` wants. Raises ApiError (400, 409, 422)."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        raise bad_request("json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
    name = item["metadata"]["name"]
    if replicas < 0:
        cause = wrong("spec.replicas", str(replicas), "must be greater than or equal to 0")
        raise invalid(Subject("autoscaling", "scales", "Scale", name), [cause])
    wanted = (scale.get("metadata") or {}).get("resourceVersion")
    metadata = {**item["metadata"], "resourceVersion": wanted or item["metadata"]["resourceVersion"]}
    return {**item, "metadata": metadata, "spec": {**item["spec"], "replicas": replicas}}
