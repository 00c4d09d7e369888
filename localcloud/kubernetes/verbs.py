"""What each verb does with a resource: from a request's query and body to an answer. Knows nothing of connections."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from localcloud.kubernetes import access, deletion
from localcloud.kubernetes.access import User
from localcloud.kubernetes.decoding import (
    Findings,
    bad_patch,
    decode,
    parse_body,
    parse_patch,
    strict,
)
from localcloud.kubernetes.deletion import DeleteOptions
from localcloud.kubernetes.errors import (
    ApiError,
    Subject,
    bad_request,
    invalid,
    invalid_options,
    method_not_allowed,
    required,
    unsupported,
    wrong,
)
from localcloud.kubernetes.listing import ListOptions, list_objects, parse_revision, too_large
from localcloud.kubernetes.objects import Object, clone, is_terminating, name_of, namespace_of
from localcloud.kubernetes.patches import json_patch, merge_patch, strategic_merge
from localcloud.kubernetes.paths import Target
from localcloud.kubernetes.registry import Registry, Write
from localcloud.kubernetes.resources import ACCESS_REVIEWS, Resource
from localcloud.kubernetes.scaling import scale_of, scaled
from localcloud.kubernetes.schema import root
from localcloud.kubernetes.yaml_text import parse_yaml

_APPLY = "application/apply-patch+yaml"
_ACCEPTED_BODIES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_OPTIONS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}


@dataclass(frozen=True)
class Call:
    """One request about a resource, its body unread."""

    resource: Resource
    target: Target
    user: User
    query: Mapping[str, str]
    content_type: str
    agent: str
    body: bytes
    warnings: list[str] = field(default_factory=list)
    """Filled while it is answered: the texts of Warning headers."""

    @property
    def name(self) -> str:
        """Name of the object that is asked about."""
        return self.target.name

    @property
    def namespace(self) -> str:
        """Its namespace; empty for all, and for cluster-scoped resources."""
        return self.target.namespace

    def write(self, verb: str) -> Write:
        """Reads the query parameters that every write has. Raises ApiError (422)."""
        dry_run = self.query.get("dryRun", "")
        if dry_run not in ("", "All"):
            raise invalid_options(_OPTIONS[verb], unsupported("dryRun", f'["{dry_run}"]', "All"))
        validation = self.query.get("fieldValidation", "")
        if validation not in ("", "Ignore", "Strict", "Warn"):
            allowed = ("", "Ignore", "Strict", "Warn")
            raise invalid_options(_OPTIONS[verb], unsupported("fieldValidation", f'"{validation}"', *allowed))
        manager = self.query.get("fieldManager", "")
        if self.content_type == _APPLY and not manager:
            raise invalid_options("PatchOptions", required("fieldManager", "is required for apply patch"))
        force = self.query.get("force", "") in ("true", "1")
        manager = manager or self.agent.partition("/")[0]
        return Write(manager, self.target.subresource, dry_run=bool(dry_run), force=force)


@dataclass(frozen=True)
class Answer:
    """A body with its code; ``item`` and ``items`` are shown in the form that the client asked for."""

    code: int
    item: Object | None = None
    items: list[Object] | None = None
    metadata: Object = field(default_factory=dict)
    raw: Object | None = None
    """Sent as it is: a Status, a Scale."""


def get(registry: Registry, call: Call) -> Answer:
    """Reads an object, or one of its subresources that are documents."""
    revision = parse_revision(call.query.get("resourceVersion", ""))
    if revision is not None and revision > registry.store.revision:
        raise too_large(revision, registry.store.revision)
    item = registry.get(call.resource, call.namespace, call.name)
    return Answer(200, raw=scale_of(item)) if call.target.subresource == "scale" else Answer(200, item=item)


def list_(registry: Registry, call: Call) -> Answer:
    """Lists objects, page by page where a limit is given."""
    options = ListOptions.read(call.resource, call.query)
    items, metadata = list_objects(registry.store, call.resource, call.namespace, options)
    return Answer(200, items=items, metadata=metadata)


def create(registry: Registry, call: Call) -> Answer:
    """Creates an object; an access review is answered and not stored."""
    write = call.write("create")
    body = _decoded(call)
    if call.resource is ACCESS_REVIEWS:
        spec = body.get("spec") or {}
        if not (spec.get("resourceAttributes") or spec.get("nonResourceAttributes")):
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise invalid(Subject(call.resource.group, "", ""), [wrong("spec.resourceAttributes", "null", why)])
        return Answer(201, item=body | {"metadata": {}, "status": access.review(call.user, spec)})
    return Answer(201, item=registry.create(call.resource, call.namespace, body, write))


def update(registry: Registry, call: Call) -> Answer:
    """Replaces an object, its status, or its scale."""
    write = call.write("update")
    if call.target.subresource == "scale":
        body, _ = parse_body(call.body, is_yaml=False, kind="Scale")
        return _scale(registry, call, lambda _: body, write)
    return Answer(200, item=registry.replace(call.resource, call.namespace, call.name, _decoded(call), write))


def patch(registry: Registry, call: Call) -> Answer:
    """Patches in one of the four formats, by Content-Type."""
    write = call.write("patch")
    if call.content_type == _APPLY:
        return _apply(registry, call, write)
    change = _change(call)
    if call.target.subresource == "scale":
        return _scale(registry, call, change, write)
    existing = registry.get(call.resource, call.namespace, call.name)
    patched = change(clone(existing))
    findings = Findings()
    try:
        if patched.get("kind") != call.resource.kind:
            raise bad_request(
                f'no kind "{patched.get("kind")}" is registered for version "{call.resource.api_version}"'
            )
        typed = decode(call.resource, patched, findings)
        call.warnings.extend(strict(findings, call.query.get("fieldValidation", ""), call.resource))
    except ApiError as error:
        raise bad_patch(patched, error) from error
    return Answer(200, item=registry.update(call.resource, call.namespace, call.name, typed, write))


def _change(call: Call) -> Callable[[Object], Object]:
    match call.content_type:
        case "application/merge-patch+json":
            members = parse_patch(call.body, wanted=dict)
            return lambda item: dict(merge_patch(item, members))
        case "application/json-patch+json":
            operations = parse_patch(call.body, wanted=list)
            return lambda item: json_patch(item, operations)
        case "application/strategic-merge-patch+json":
            members = parse_patch(call.body, wanted=dict)
            node = root(call.resource.definition)
            return lambda item: strategic_merge(node, item, members) or {}
        case _:
            raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})


def _apply(registry: Registry, call: Call, write: Write) -> Answer:
    config = parse_yaml(call.body)
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the configuration is not an object")
    if call.target.subresource == "scale":
        registry.get(call.resource, call.namespace, call.name)
        replicas = {"replicas": (config.get("spec") or {}).get("replicas", 0)}
        config = {
            "apiVersion": call.resource.api_version, "kind": call.resource.kind, "metadata": {"name": call.name},
            "spec": replicas,
        }  # fmt: skip
        item, _ = registry.apply(call.resource, call.namespace, call.name, config, write)
        return Answer(200, raw=scale_of(item))
    item, created = registry.apply(call.resource, call.namespace, call.name, config, write)
    return Answer(201 if created else 200, item=item)


def _scale(registry: Registry, call: Call, change: Callable[[Object], Object], write: Write) -> Answer:
    existing = registry.get(call.resource, call.namespace, call.name)
    changed = scaled(call.resource, existing, change(scale_of(existing)))
    return Answer(200, raw=scale_of(registry.update(call.resource, call.namespace, call.name, changed, write)))


def delete(registry: Registry, call: Call) -> Answer:
    """Deletes an object."""
    options = DeleteOptions.read(dict(call.query), _delete_body(call))
    if call.target.subresource:
        raise method_not_allowed()
    done = deletion.delete(registry, call.resource, call.namespace, call.name, options)
    if done.gone and not deletion.returns_object(call.resource):
        return Answer(200, raw=deletion.success(call.resource, done.item))
    return Answer(200, item=done.item)


def delete_collection(registry: Registry, call: Call) -> Answer:
    """Deletes what is selected, and answers with it."""
    options = DeleteOptions.read(dict(call.query), _delete_body(call))
    selected = ListOptions.read(call.resource, call.query)
    items, metadata = list_objects(registry.store, call.resource, call.namespace, selected)
    for item in items:
        if not is_terminating(item):
            deletion.delete(registry, call.resource, namespace_of(item), name_of(item), options)
    return Answer(200, items=items, metadata=metadata)


def _delete_body(call: Call) -> Object:
    if not call.body.strip():
        return {}
    body, _ = parse_body(call.body, is_yaml=call.content_type == "application/yaml", kind="DeleteOptions")
    return body


def _decoded(call: Call) -> Object:
    if call.content_type not in ("", "application/json", "application/yaml"):
        message = f"the body of the request was in an unknown format - accepted media types include: {_ACCEPTED_BODIES}"
        raise ApiError(415, "UnsupportedMediaType", message)
    is_yaml = call.content_type == "application/yaml"
    body, findings = parse_body(call.body, is_yaml=is_yaml, kind=call.resource.kind)
    typed = decode(call.resource, body, findings)
    call.warnings.extend(strict(findings, call.query.get("fieldValidation", ""), call.resource))
    return typed
