"""What an API server says about itself: versions, groups, resources, health."""

from localcloud.kubernetes.errors import unknown_resource
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.openapi import openapi_document
from localcloud.kubernetes.resources import api_group, api_resource_list, group_versions

_VERSION = {
    "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35", "gitVersion": "v1.36.2", "gitCommit": "localcloud", "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
}  # fmt: skip
HEALTH = ("/healthz", "/readyz", "/livez")


def document(path: str, address: str) -> Object | None:
    """Returns the document at ``path``; None where none is served, ApiError (404) for an unknown version."""
    match [part for part in path.split("/") if part]:
        case ["version"]:
            return dict(_VERSION)
        case ["api"]:
            clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}
        case ["apis"]:
            groups = [api_group(group) for group in group_versions()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if group in group_versions():
            return {"kind": "APIGroup", "apiVersion": "v1", **api_group(group)}
        case ["openapi", "v3", *_]:
            return openapi_document(path)
        case ["api", version]:
            return _resources("", version)
        case ["apis", group, version]:
            return _resources(group, version)
        case []:
            versions = [f"/apis/{group}/{v}" for group, known in group_versions().items() for v in known]
            groups_paths = [f"/apis/{group}" for group in group_versions()]
            return {"paths": sorted(["/api", "/api/v1", "/apis", *groups_paths, *versions, *HEALTH, "/version"])}
        case _:
            return None


def _resources(group: str, version: str) -> Object:
    found = api_resource_list(group, version)
    if found is None:
        raise unknown_resource()
    return found
