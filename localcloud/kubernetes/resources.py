"""The resources that this API server has, and their discovery documents. What is not listed here answers 404."""

from dataclasses import dataclass, field

from localcloud.kubernetes.errors import Subject
from localcloud.kubernetes.objects import Object

_NO_COLLECTION = ("create", "delete", "get", "list", "patch", "update", "watch")
_ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One resource of the API: where it stands, how it is called, what it can do."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    in_all: bool = False
    """Whether ``kubectl get all`` lists it."""
    has_status: bool = True
    scalable: bool = False
    has_generation: bool = False
    """Whether ``metadata.generation`` counts changes of its specification."""
    verbs: tuple[str, ...] = _ALL_VERBS
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        """Names it in the store: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def definition(self) -> str:
        """Name of its definition in the schema."""
        return f"io.k8s.api.{self.group.split('.')[0] or 'core'}.{self.version}.{self.kind}"

    def subject(self, name: str = "") -> Subject:
        """Returns what a failure about an object of this resource names."""
        return Subject(self.group, self.plural, self.kind, name)

    def supports(self, subresource: str) -> bool:
        """Tells whether the subresource is served; the empty one is the object itself."""
        match subresource:
            case "":
                return True
            case "status":
                return self.has_status
            case "scale":
                return self.scalable
            case _:
                return subresource in self.subresources


NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",), verbs=_NO_COLLECTION)
NODES = Resource("", "v1", "Node", "nodes", namespaced=False, short_names=("no",))
PODS = Resource(
    "", "v1", "Pod", "pods", short_names=("po",), in_all=True, has_generation=True, subresources=("log",)
)  # fmt: skip
SERVICES = Resource("", "v1", "Service", "services", short_names=("svc",), in_all=True)
ENDPOINTS = Resource("", "v1", "Endpoints", "endpoints", short_names=("ep",), has_status=False)
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", short_names=("cm",), has_status=False)
SECRETS = Resource("", "v1", "Secret", "secrets", has_status=False)
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",), has_status=False)
VOLUMES = Resource("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short_names=("pv",))
CLAIMS = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short_names=("pvc",))
EVENTS = Resource("", "v1", "Event", "events", short_names=("ev",), has_status=False)
DEPLOYMENTS = Resource(
    "apps", "v1", "Deployment", "deployments", short_names=("deploy",), in_all=True, scalable=True, has_generation=True
)
REPLICA_SETS = Resource(
    "apps", "v1", "ReplicaSet", "replicasets", short_names=("rs",), in_all=True, scalable=True, has_generation=True
)
DAEMON_SETS = Resource("apps", "v1", "DaemonSet", "daemonsets", short_names=("ds",), in_all=True, has_generation=True)
JOBS = Resource("batch", "v1", "Job", "jobs", in_all=True, has_generation=True)
BUDGETS = Resource(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",), has_generation=True
)
AUTOSCALERS = Resource(
    "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", short_names=("hpa",), in_all=True
)
NETWORK_POLICIES = Resource(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",), has_status=False,
    has_generation=True,
)  # fmt: skip
ENDPOINT_SLICES = Resource(
    "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", has_status=False, has_generation=True
)
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases", has_status=False)
CSI_DRIVERS = Resource("storage.k8s.io", "v1", "CSIDriver", "csidrivers", namespaced=False, has_status=False)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False,
    has_status=False, verbs=("create",),
)  # fmt: skip

RESOURCES: list[Resource] = [
    NAMESPACES, NODES, PODS, SERVICES, ENDPOINTS, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, VOLUMES, CLAIMS, EVENTS,
    DEPLOYMENTS, REPLICA_SETS, DAEMON_SETS, JOBS, BUDGETS, AUTOSCALERS, NETWORK_POLICIES, ENDPOINT_SLICES, LEASES,
    CSI_DRIVERS, ACCESS_REVIEWS,
]  # fmt: skip


@dataclass(frozen=True)
class _Index:
    by_path: dict[tuple[str, str, str], Resource] = field(
        default_factory=lambda: {(r.group, r.version, r.plural): r for r in RESOURCES}
    )
    by_kind: dict[tuple[str, str], Resource] = field(
        default_factory=lambda: {(r.api_version, r.kind): r for r in RESOURCES}
    )


_INDEX = _Index()


def install(resource: Resource) -> None:
    """Serves a further kind from now on, as a CustomResourceDefinition does; before a server is started."""
    RESOURCES.append(resource)
    _INDEX.by_path[resource.group, resource.version, resource.plural] = resource
    _INDEX.by_kind[resource.api_version, resource.kind] = resource


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """Returns the resource that a path names, if it is served."""
    return _INDEX.by_path.get((group, version, plural))


def resource_of(reference: Object) -> Resource | None:
    """Returns the resource of an object or an owner reference, by its ``apiVersion`` and ``kind``."""
    return _INDEX.by_kind.get((reference.get("apiVersion", ""), reference.get("kind", "")))


def group_versions() -> dict[str, list[str]]:
    """Returns each named group with its versions, preferred version first."""
    groups: dict[str, list[str]] = {}
    for resource in RESOURCES:
        if resource.group and resource.version not in groups.setdefault(resource.group, []):
            groups[resource.group].append(resource.version)
    return groups
