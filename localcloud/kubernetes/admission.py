"""What is checked, and put into new objects, before they are stored: the built-in admission of an API server."""

from localcloud.kubernetes.errors import Cause, forbidden, not_found
from localcloud.kubernetes.objects import Object, is_terminating, namespace_of, random_suffix
from localcloud.kubernetes.resources import NAMESPACES, SERVICE_ACCOUNTS, Resource
from localcloud.kubernetes.store import Store

_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  (a path in containers)
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def admit(store: Store, resource: Resource, item: Object) -> None:
    """Checks the surroundings of a new object and completes it.

    Raises ApiError: 404 without its namespace, 403 in one that is terminating or without its service account.
    """
    namespace = namespace_of(item)
    if resource.namespaced:
        home = store.get(NAMESPACES, "", namespace)
        if home is None:
            raise not_found(NAMESPACES.subject(namespace))
        if is_terminating(home):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = Cause("NamespaceTerminating", "metadata.namespace", f"namespace {namespace} is being terminated")
            raise forbidden(resource.subject(item["metadata"].get("name", "")), why, [cause])
    match resource.kind:
        case "Pod":
            _pod(store, resource, item)
        case "Node":
            taints = item.setdefault("spec", {}).setdefault("taints", [])
            if not any(taint.get("key") == NOT_READY["key"] for taint in taints):
                taints.append(dict(NOT_READY))
        case _:
            pass


def _pod(store: Store, resource: Resource, item: Object) -> None:
    namespace, spec = namespace_of(item), item["spec"]
    name = spec["serviceAccountName"]
    account = store.get(SERVICE_ACCOUNTS, namespace, name)
    if account is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden(resource.subject(item["metadata"].get("name", "")), why)
    if spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True)):
        _mount_token(spec)


def _mount_token(spec: Object) -> None:
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    if any(mount["mountPath"] == _TOKEN_PATH for c in containers for mount in c.get("volumeMounts") or []):
        return
    name = f"kube-api-access-{random_suffix()}"
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    spec.setdefault("volumes", []).append({"name": name, "projected": {"sources": sources, "defaultMode": 0o644}})
    for container in containers:
        mount = {"name": name, "readOnly": True, "mountPath": _TOKEN_PATH}
        container.setdefault("volumeMounts", []).append(mount)
