"""What an API server says about itself: versions, groups, resources, health."""

from localcloud.kubernetes.errors import unknown_resource
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.openapi import openapi_document
from localcloud.kubernetes.resources import RESOURCES, Resource, group_versions

_VERSION = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "localcloud", "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
}  # fmt: skip
HEALTH = ("/healthz", "/readyz", "/livez")
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def document(path: str, address: str) -> Object | None:
    """Returns the document at ``path``; None where none is served, ApiError (404) for an unknown version."""
    match [part for part in path.split("/") if part]:
        case ["version"]:
            return dict(_VERSION)
        case ["api"]:
            clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}
        case ["apis"]:
            groups = [_group(group) for group in group_versions()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if group in group_versions():
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}
        case ["openapi", "v3", *_]:
            return openapi_document(path)
        case ["api", version]:
            return _resource_list("", version)
        case ["apis", group, version]:
            return _resource_list(group, version)
        case []:
            versions = [f"/apis/{group}/{v}" for group, known in group_versions().items() for v in known]
            groups_paths = [f"/apis/{group}" for group in group_versions()]
            return {"paths": sorted(["/api", "/api/v1", "/apis", *groups_paths, *versions, *HEALTH, "/version"])}
        case _:
            return None


def aggregated_document(path: str) -> Object | None:
    """Returns all groups below ``/api`` or ``/apis`` with their resources at once; None for another path."""
    match [part for part in path.split("/") if part]:
        case ["api"]:
            groups = {"": ["v1"]}
        case ["apis"]:
            groups = group_versions()
        case _:
            return None
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {
                    "version": version,
                    "resources": [_aggregated(r) for r in _served(group, version)],
                    "freshness": "Current",
                }
                for version in versions
            ],
        }
        for group, versions in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _served(group: str, version: str) -> list[Resource]:
    found = [resource for resource in RESOURCES if (resource.group, resource.version) == (group, version)]
    return sorted(found, key=lambda resource: resource.plural)


def _group(group: str) -> Object:
    versions = [{"groupVersion": f"{group}/{v}", "version": v} for v in group_versions()[group]]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(group: str, version: str) -> Object:
    served = _served(group, version)
    if not served:
        raise unknown_resource()
    entries: list[Object] = []
    for resource in served:
        base = {"singularName": resource.kind.lower(), "namespaced": resource.namespaced, "kind": resource.kind}
        entries.append({"name": resource.plural, **base, "verbs": list(resource.verbs), **_aliases(resource)})
        for name, scale, verbs in _subresources(resource):
            kind = {"group": "autoscaling", "version": "v1", "kind": "Scale"} if scale else {}
            entries.append({"name": f"{resource.plural}/{name}", **base, "singularName": "", "verbs": verbs, **kind})
    versioned = {"apiVersion": "v1"} if group else {}
    where = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", **versioned, "groupVersion": where, "resources": entries}


def _aggregated(resource: Resource) -> Object:
    def answers(scale: bool) -> Object:
        if scale:
            return {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        return {"group": "", "version": "", "kind": resource.kind}

    below = [
        {"subresource": name, "responseKind": answers(scale), "verbs": verbs}
        for name, scale, verbs in _subresources(resource)
    ]
    return {
        "resource": resource.plural, "responseKind": answers(False), "singularResource": resource.kind.lower(),
        "scope": "Namespaced" if resource.namespaced else "Cluster", "verbs": list(resource.verbs), **_aliases(resource),
        **({"subresources": below} if below else {}),
    }  # fmt: skip


def _aliases(resource: Resource) -> Object:
    names = {"shortNames": list(resource.short_names)} if resource.short_names else {}
    return names | ({"categories": ["all"]} if resource.in_all else {})


def _subresources(resource: Resource) -> list[tuple[str, bool, list[str]]]:
    """Name, whether it is a Scale, and verbs of each subresource."""
    written = ["get", "patch", "update"]
    found = [(name, False, ["get"]) for name in resource.subresources]
    if resource.scalable:
        found.append(("scale", True, written))
    if resource.has_status and "get" in resource.verbs:
        found.append(("status", False, written))
    return found
