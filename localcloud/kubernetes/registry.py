"""Reading and writing objects: what happens between a decoded request and the store.

A write goes through these stages, in this order:

    1. identity      name, namespace, uid and resourceVersion agree with the path and with what is stored
    2. preparation   what a client may not set is put back: status or specification, times, generation
    3. defaults      (``defaults``), and addresses of Services
    4. admission     the namespace is there and not terminating; a pod's service account is there
    5. validation    (``validation``)
    6. ownership     managedFields (``ownership``)
    7. the store, unless nothing changed or the request is a dry run

Clients over HTTP and the controllers write through the same methods.
"""

import uuid
from dataclasses import dataclass

from localcloud.kubernetes.admission import admit
from localcloud.kubernetes.decoding import decode
from localcloud.kubernetes.defaults import set_creation_status, set_defaults
from localcloud.kubernetes.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    internal,
    invalid,
    not_found,
)
from localcloud.kubernetes.merging import check_config
from localcloud.kubernetes.objects import (
    Object,
    annotations_of,
    clone,
    is_terminating,
    name_of,
    namespace_of,
    random_suffix,
    timestamp,
)
from localcloud.kubernetes.ownership import Manager, Ownership, apply, record_update
from localcloud.kubernetes.resources import Resource
from localcloud.kubernetes.schema import root
from localcloud.kubernetes.service_addresses import ServiceAddresses
from localcloud.kubernetes.store import Store
from localcloud.kubernetes.validation import validate, validate_change


@dataclass(frozen=True)
class Write:
    """How a write is made."""

    manager: str
    subresource: str = ""
    dry_run: bool = False
    force: bool = False


class Registry:
    """The objects of one cluster, with the API's rules."""

    def __init__(self, store: Store, addresses: ServiceAddresses) -> None:
        self.store = store
        self._addresses = addresses

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Returns an object. Raises ApiError (404)."""
        found = self.store.get(resource, namespace, name)
        if found is None:
            raise not_found(resource.subject(name))
        return found

    def create(
        self, resource: Resource, namespace: str, body: Object, write: Write, ownership: Ownership | None = None
    ) -> Object:
        """Creates an object from a decoded body. Raises ApiError."""
        item = clone(body)
        metadata = item.setdefault("metadata", {})
        _check_namespace(metadata, namespace)
        if metadata.get("resourceVersion"):
            raise internal("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + random_suffix()
        if resource.namespaced:
            metadata["namespace"] = namespace
        for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields", "selfLink"):
            metadata.pop(field, None)
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = timestamp()
        if resource.has_generation:
            metadata["generation"] = 1
        if resource.has_status:
            set_creation_status(resource, item)
        set_defaults(resource, item)
        _tidy(item)
        self._addresses.assign(resource, item, None)
        admit(self.store, resource, item)
        if causes := validate(resource, item):
            raise invalid(resource.subject(metadata.get("name", "")), causes)
        existing = self.store.get(resource, namespace, name_of(item))
        if existing is not None:
            raise already_exists(resource.subject(name_of(item)), terminating=is_terminating(existing))
        if ownership is None:
            manager = Manager(write.manager, "Update", resource.api_version, write.subresource)
            ownership = record_update(
                root(resource.definition), Ownership({}, {}), manager, None, _claimable(resource, item)
            )
        ownership.write(item)
        return item if write.dry_run else self.store.put(resource, item)

    def update(self, resource: Resource, namespace: str, name: str, body: Object, write: Write) -> Object:
        """Replaces an object by a decoded body. Raises ApiError."""
        existing = self.get(resource, namespace, name)
        return self._replace(resource, existing, clone(body), write)

    def replace(self, resource: Resource, namespace: str, name: str, body: Object, write: Write) -> Object:
        """Replaces an object by a client's own body, whose uid is a precondition. Raises ApiError."""
        present = self.get(resource, namespace, name)["metadata"]["uid"]
        wanted = (body.get("metadata") or {}).get("uid") or present
        if wanted != present:
            place = (
                f"/registry/{resource.plural}/{namespace}/{name}"
                if namespace
                else f"/registry/{resource.plural}/{name}"
            )
            fault = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {present}"
            why = (
                f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: {fault}"
            )
            raise conflict(resource.subject(name), why)
        return self.update(resource, namespace, name, body, write)

    def apply(self, resource: Resource, namespace: str, name: str, config: Object, write: Write) -> tuple[Object, bool]:
        """Server-side apply. Returns the object, and whether it was created. Raises ApiError."""
        self._check_config(resource, namespace, name, config)
        claimed = {key: part for key, part in config.items() if key != "status" or write.subresource == "status"}
        node = root(resource.definition)
        manager = Manager(write.manager, "Apply", resource.api_version, write.subresource)
        existing = self.store.get(resource, namespace, name)
        metadata = config.get("metadata") or {}
        if existing is None:
            if metadata.get("uid"):
                wanted = f"uid mismatch: the provided object specified uid {metadata['uid']}"
                raise conflict(resource.subject(name), f"{wanted}, and no existing object was found")
            fresh = {**claimed, "metadata": {**metadata, "name": name}}
            applied = apply(node, {}, fresh, Ownership({}, {}), manager, force=write.force)
            return self.create(resource, namespace, decode(resource, applied.item), write, applied.ownership), True
        applied = apply(node, existing, claimed, Ownership.read(existing), manager, force=write.force)
        item = decode(resource, applied.item)
        return self._replace(resource, existing, item, write, applied.ownership), False

    def _check_config(self, resource: Resource, namespace: str, name: str, config: Object) -> None:
        group, _, version = str(config.get("apiVersion", "")).rpartition("/")
        if (config.get("apiVersion"), config.get("kind")) != (resource.api_version, resource.kind):
            raise bad_request(
                f"invalid object type: {group}/{version}, Kind={config.get('kind', '')}".replace("//", "/")
            )
        metadata = config.get("metadata") or {}
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        _check_name(metadata, name)
        _check_namespace(metadata, namespace)
        where = f"{namespace}/{name}" if namespace else name
        check_config(root(resource.definition), config, f"{where}; {group}/{version}, Kind={resource.kind}")
        decode(resource, config)

    def _replace(
        self, resource: Resource, existing: Object, item: Object, write: Write, ownership: Ownership | None = None
    ) -> Object:
        name, namespace = name_of(existing), namespace_of(existing)
        metadata = item.setdefault("metadata", {})
        _check_name(metadata, name)
        _check_namespace(metadata, namespace)
        subject = resource.subject(name)
        old = existing["metadata"]
        if metadata.get("resourceVersion") not in (None, "", "0", old["resourceVersion"]):
            raise conflict(subject)
        item = _prepared(resource, existing, item, write.subresource)
        set_defaults(resource, item)
        _tidy(item)
        self._addresses.assign(resource, item, existing)
        causes = validate(resource, item) + validate_change(resource, existing, item)
        if causes:
            raise invalid(subject, causes)
        if (
            resource.has_generation
            and write.subresource not in ("status", "binding")
            and _counts_as_new(resource, existing, item)
        ):
            item["metadata"]["generation"] = old.get("generation", 0) + 1
        if ownership is None:
            manager = Manager(write.manager, "Update", resource.api_version, write.subresource)
            before = Ownership.read(existing)
            ownership = record_update(root(resource.definition), before, manager, existing, item)
        ownership.write(item)
        if item == existing:
            return existing
        if write.dry_run:
            return item
        if is_terminating(item) and self._is_finished(resource, item):
            return self.store.remove(resource, item)
        return self.store.put(resource, item)

    def _is_finished(self, resource: Resource, item: Object) -> bool:
        """Whether nothing holds a terminating object any more."""
        if item["metadata"].get("finalizers"):
            return False
        if resource.kind == "Namespace":
            return not (item.get("spec") or {}).get("finalizers")
        return bool(item["metadata"].get("deletionGracePeriodSeconds") in (None, 0))


def _prepared(resource: Resource, existing: Object, item: Object, subresource: str) -> Object:
    """Puts back what this request may not change."""
    old = existing["metadata"]
    if subresource == "status":  # some controllers keep annotations through it too
        kept = {**existing, "status": item.get("status", {})}
        kept["metadata"] = {**old, "annotations": annotations_of(item)}
        item = clone(kept)
    elif resource.has_status and subresource != "binding":
        item.pop("status", None)
        if "status" in existing:
            item["status"] = clone(existing["status"])
    metadata = item["metadata"]
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation", "namespace", "resourceVersion"):
        metadata.pop(field, None)
        if field in old:
            metadata[field] = old[field]
    for field in ("uid", "creationTimestamp", "name"):
        if not metadata.get(field):
            metadata[field] = old[field]
    if resource.kind == "Service" and item["spec"].get("type") != "ExternalName":
        for field in ("clusterIP", "clusterIPs"):
            if not item["spec"].get(field) and field in existing["spec"]:
                item["spec"][field] = existing["spec"][field]
    return item


def _counts_as_new(resource: Resource, existing: Object, item: Object) -> bool:
    def counted(whole: Object) -> Object:
        rest = {key: part for key, part in whole.items() if key not in ("metadata", "status")}
        return rest | ({"annotations": annotations_of(whole)} if resource.kind == "Deployment" else {})

    return counted(existing) != counted(item)


def _claimable(resource: Resource, item: Object) -> Object:
    """What the creator of an object is recorded as the owner of: not the status, where that is a subresource."""
    return {key: part for key, part in item.items() if key != "status" or not resource.has_status}


def _check_name(metadata: Object, name: str) -> None:
    given = metadata.get("name")
    if given and given != name:
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({name})")


def _check_namespace(metadata: Object, namespace: str) -> None:
    if metadata.get("namespace") not in (None, "", namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def _tidy(item: Object) -> None:
    """Drops empty maps and lists of the metadata, as a typed object leaves them out."""
    for field in ("labels", "annotations", "finalizers", "ownerReferences"):
        if not item["metadata"].get(field, True):
            del item["metadata"][field]
    for field in ("data", "binaryData"):
        if not item.get(field, True):
            del item[field]


def controller_write(manager: str = "kube-controller-manager", subresource: str = "") -> Write:
    """Returns how the built-in controllers write."""
    return Write(manager, subresource=subresource)


def gone(error: ApiError) -> bool:
    """Tells whether an object vanished (or was replaced) between being read and being written."""
    return error.code in (404, 409)
