"""Which call a request is: what of, and on which resources. Pure.

ARM compares the fixed parts of its paths, and the names of resources, without regard to case.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from localcloud.arm.errors import ArmError


class Call(StrEnum):
    """The calls there are; faults are set by these names."""

    CLUSTER_LIST = "cluster.list"
    CLUSTER_GET = "cluster.get"
    CLUSTER_PUT = "cluster.put"
    CLUSTER_PATCH = "cluster.patch"
    CLUSTER_DELETE = "cluster.delete"
    CLUSTER_START = "cluster.start"
    CLUSTER_STOP = "cluster.stop"
    CLUSTER_ABORT = "cluster.abort"
    CLUSTER_USER_CREDENTIALS = "cluster.user-credentials"
    CLUSTER_ADMIN_CREDENTIALS = "cluster.admin-credentials"
    POOL_LIST = "pool.list"
    POOL_GET = "pool.get"
    POOL_PUT = "pool.put"
    POOL_DELETE = "pool.delete"
    POOL_ABORT = "pool.abort"
    OPERATION_GET = "operation.get"
    OPERATION_RESULT = "operation.result"
    IDENTITY_TOKEN = "identity.token"  # noqa: S105  (the name of a call)


@dataclass(frozen=True)
class Target:
    """A call with the names in its path; those that a path does not have are empty."""

    call: Call
    subscription: str
    group: str = ""
    cluster: str = ""
    pool: str = ""
    operation: str = ""


_IN_SUBSCRIPTION = r"/subscriptions/(?P<subscription>[^/]+)"
_IN_GROUP = rf"{_IN_SUBSCRIPTION}/resourceGroups/(?P<group>[^/]+)"
_PROVIDER = r"/providers/Microsoft\.ContainerService"
_CLUSTER = rf"{_IN_GROUP}{_PROVIDER}/managedClusters/(?P<cluster>[^/]+)"
_POOL = rf"{_CLUSTER}/agentPools/(?P<pool>[^/]+)"
_LOCATION = rf"{_IN_SUBSCRIPTION}{_PROVIDER}/locations/[^/]+"

_ROUTES = [
    (re.compile(pattern, re.IGNORECASE), calls)
    for pattern, calls in [
        (rf"{_IN_SUBSCRIPTION}{_PROVIDER}/managedClusters", {"GET": Call.CLUSTER_LIST}),
        (rf"{_IN_GROUP}{_PROVIDER}/managedClusters", {"GET": Call.CLUSTER_LIST}),
        (
            _CLUSTER,
            {
                "GET": Call.CLUSTER_GET,
                "PUT": Call.CLUSTER_PUT,
                "PATCH": Call.CLUSTER_PATCH,
                "DELETE": Call.CLUSTER_DELETE,
            },
        ),
        (rf"{_CLUSTER}/start", {"POST": Call.CLUSTER_START}),
        (rf"{_CLUSTER}/stop", {"POST": Call.CLUSTER_STOP}),
        (rf"{_CLUSTER}/abort", {"POST": Call.CLUSTER_ABORT}),
        (rf"{_CLUSTER}/listClusterUserCredential", {"POST": Call.CLUSTER_USER_CREDENTIALS}),
        (rf"{_CLUSTER}/listClusterAdminCredential", {"POST": Call.CLUSTER_ADMIN_CREDENTIALS}),
        (rf"{_CLUSTER}/agentPools", {"GET": Call.POOL_LIST}),
        (_POOL, {"GET": Call.POOL_GET, "PUT": Call.POOL_PUT, "DELETE": Call.POOL_DELETE}),
        (rf"{_POOL}/abort", {"POST": Call.POOL_ABORT}),
        (rf"{_LOCATION}/operations/(?P<operation>[^/]+)", {"GET": Call.OPERATION_GET}),
        (rf"{_LOCATION}/operationresults/(?P<operation>[^/]+)", {"GET": Call.OPERATION_RESULT}),
    ]
]


def resolve(method: str, path: str) -> Target:
    """The call that a request is. Raises `ArmError` (404, 405) for what the stand-in does not have."""
    for pattern, calls in _ROUTES:
        found = pattern.fullmatch(path)
        if found is None:
            continue
        if method not in calls:
            raise ArmError(405, "HttpMethodNotAllowed", f"{path} takes {', '.join(calls)}, not {method}.")
        names = {name: value.lower() if name == "pool" else value for name, value in found.groupdict().items()}
        return Target(calls[method], **names)
    raise ArmError(404, "InvalidResourceType", f"This stand-in has nothing at {path}.")
