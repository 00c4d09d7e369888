"""Deleting objects: grace periods, finalizers, propagation policies. What owners leave behind is the collector's."""

from dataclasses import dataclass
from typing import Any, Self

from localcloud.kubernetes.errors import Subject, bad_request, conflict, invalid_options, unsupported
from localcloud.kubernetes.objects import Object, is_terminating, name_of, namespace_of, seconds_from_now, timestamp
from localcloud.kubernetes.registry import Registry
from localcloud.kubernetes.resources import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_POLICIES = {"Foreground": FOREGROUND, "Background": None, "Orphan": ORPHAN}


@dataclass(frozen=True)
class DeleteOptions:
    """How an object is to be deleted; None where the client left it open."""

    grace_seconds: int | None = None
    policy: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False

    @classmethod
    def read(cls, query: dict[str, str], body: Object) -> Self:
        """Reads the query and the body of a DELETE. Raises ApiError (400, 422)."""
        grace: Any = query.get("gracePeriodSeconds", body.get("gracePeriodSeconds"))
        if isinstance(grace, str):
            try:
                grace = int(grace)
            except ValueError as error:
                raise bad_request(f'strconv.ParseInt: parsing "{grace}": invalid syntax') from error
        policy = query.get("propagationPolicy", body.get("propagationPolicy"))
        if policy is not None and policy not in _POLICIES:
            cause = unsupported("propagationPolicy", f'"{policy}"', *_POLICIES, "nil")
            raise invalid_options("DeleteOptions", cause)
        preconditions = body.get("preconditions") or {}
        return cls(
            grace_seconds=grace,
            policy=policy,
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            dry_run=bool(query.get("dryRun") or body.get("dryRun")),
        )


@dataclass(frozen=True)
class Deleted:
    """Outcome of a deletion: the object as it is, or was last; ``gone`` tells which."""

    item: Object
    gone: bool


def delete(registry: Registry, resource: Resource, namespace: str, name: str, options: DeleteOptions) -> Deleted:
    """Deletes an object, or begins to where grace, finalizers or contents hold it. Raises ApiError."""
    existing = registry.get(resource, namespace, name)
    _check_preconditions(resource, existing, options)
    store = registry.store
    item = _marked(resource, existing, options)
    if item is None:
        if options.dry_run:
            return Deleted(existing, gone=True)
        if resource.kind == "Pod":
            metadata = {**existing["metadata"], **_stamp(0)}
            if not is_terminating(existing):
                metadata["generation"] = metadata.get("generation", 0) + 1
            existing = {**existing, "metadata": metadata}
        return Deleted(store.remove(resource, existing), gone=True)
    if item == existing or options.dry_run:
        return Deleted(item, gone=False)
    return Deleted(store.put(resource, item), gone=False)


def _check_preconditions(resource: Resource, existing: Object, options: DeleteOptions) -> None:
    metadata = existing["metadata"]
    subject = Subject(resource.group, resource.kind, resource.kind, name_of(existing))
    if options.uid is not None and options.uid != metadata["uid"]:
        why = f"the UID in the precondition ({options.uid}) does not match the UID in record ({metadata['uid']}). "
        raise conflict(subject, why + "The object might have been deleted and then recreated")
    if options.resource_version is not None and options.resource_version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion "
            f"in record ({metadata['resourceVersion']}). The object might have been modified"
        )
        raise conflict(subject, why)


def _marked(resource: Resource, existing: Object, options: DeleteOptions) -> Object | None:
    """Returns the object with its deletion begun, or None where it can go at once."""
    metadata = dict(existing["metadata"])
    finalizers = _finalizers(metadata.get("finalizers") or [], options.policy)
    grace = _grace(resource, existing, options)
    contents = resource.kind == "Namespace" and bool((existing.get("spec") or {}).get("finalizers"))
    if not finalizers and grace == 0 and not contents:
        return None
    metadata.pop("finalizers", None)
    if finalizers:
        metadata["finalizers"] = finalizers
    if not is_terminating(existing):
        if "generation" in metadata:
            metadata["generation"] += 1
        metadata |= _stamp(grace)
        if contents:
            metadata.pop("deletionGracePeriodSeconds")
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata |= _stamp(grace)
    item = {**existing, "metadata": metadata}
    if contents:
        item["status"] = {**existing.get("status", {}), "phase": "Terminating"}
    return item


def _stamp(grace: int) -> Object:
    when = seconds_from_now(grace) if grace else timestamp()
    return {"deletionTimestamp": when, "deletionGracePeriodSeconds": grace}


def _finalizers(present: list[str], policy: str | None) -> list[str]:
    if policy is None:
        return present
    wanted = _POLICIES[policy]
    kept = [name for name in present if name not in (FOREGROUND, ORPHAN)]
    return [*kept, wanted] if wanted else kept


def _grace(resource: Resource, existing: Object, options: DeleteOptions) -> int:
    if resource.kind != "Pod":
        return 0
    finished = existing["status"].get("phase") in ("Succeeded", "Failed")
    if not existing["spec"].get("nodeName") or finished:
        return 0
    default: int = existing["spec"].get("terminationGracePeriodSeconds", 30)
    wanted = default if options.grace_seconds is None else max(0, options.grace_seconds)
    if is_terminating(existing):
        left: int = existing["metadata"].get("deletionGracePeriodSeconds", default)
        return min(wanted, left)
    return wanted


def success(resource: Resource, item: Object) -> Object:
    """Returns the Status that tells of a deletion that is done."""
    details = resource.subject(name_of(item)).details(resource.plural, uid=item["metadata"]["uid"])
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def returns_object(resource: Resource) -> bool:
    """Tells whether a DELETE of this resource answers with the object rather than a Status."""
    return resource.kind in ("Pod", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim")


def ensure_deleted(registry: Registry, resource: Resource, item: Object, *, policy: str | None = None) -> None:
    """Deletes what a controller wants gone, if it is still that very object."""
    current = registry.store.get(resource, namespace_of(item), name_of(item))
    if current is not None and current["metadata"]["uid"] == item["metadata"]["uid"]:
        delete(registry, resource, namespace_of(item), name_of(item), DeleteOptions(policy=policy))
