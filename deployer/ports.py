"""What the use cases ask of the outside: one protocol per thing, implemented by the adapters (``deployer/adapters``).

Adapters raise the errors of ``deployer.errors``; an SDK's exception never passes through.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class BlobRef:
    """A blob as it was when looked at. ``size`` in bytes."""

    name: str
    etag: str
    size: int
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)  # in listings of the state container


@dataclass(frozen=True)
class StoredDocument:
    """A document and the ETag that a conditional write must name."""

    data: bytes
    etag: str


class Lease(Protocol):
    """A lease that is held, and renewed meanwhile."""

    def check(self) -> None:
        """Makes sure that it is held still, and will be for most of a minute. To be asked before what cannot be undone.

        Raises:
            LeaseLost: another may hold it by now.
        """


class Documents(Protocol):
    """The state container."""

    def read(self, path: str) -> StoredDocument | None:
        """The document, or None."""

    def write(self, path: str, data: bytes, *, etag: str | None, metadata: Mapping[str, str] | None = None) -> str:
        """Writes if the document still has this ETag, or, with None, if there is none; returns the new ETag.

        ``metadata`` (ASCII) is what a listing tells of it.

        Raises:
            Conflict: somebody else wrote first.
        """

    def put(self, path: str, data: bytes) -> None:
        """Writes whatever is there: for notes that only ever grow newer."""

    def remove(self, path: str, *, etag: str | None = None) -> None:
        """Removes the document, if it is there, and with the ETag of a listing only if it is still that one."""

    def listing(self, prefix: str) -> Iterable[BlobRef]:
        """The documents whose path begins so."""

    def lease(self, name: str) -> AbstractContextManager[Lease | None]:
        """Holds ``locks/NAME`` for the block, renewed; yields None, at once, where another holds it."""


class UploadStore(Protocol):
    """The drop container."""

    def listing(self, prefix: str) -> Iterable[BlobRef]:
        """The blobs whose name begins so."""

    def find(self, blob: str) -> BlobRef | None:
        """The blob as it is now, or None."""

    def download(self, blob: BlobRef, to: Path) -> None:
        """Streams the blob to a file.

        Raises:
            Conflict: it has been overwritten or removed since.
        """

    def read(self, path: str) -> StoredDocument | None:
        """A small blob, or None."""

    def remove(self, path: str) -> None:
        """Removes a blob, if it is there."""

    def tags(self, blob: str) -> Mapping[str, str]:
        """Its index tags; none where it is gone."""

    def tag(self, blob: str, tags: Mapping[str, str]) -> None:
        """Sets index tags, or takes those with an empty value away, keeping all others; a blob that is gone is left so."""


class ServableStore(Protocol):
    """The container that the cluster mounts."""

    def upload(self, path: str, source: Path, *, replace: bool = True) -> None:
        """Stores a file, replacing what an interrupted publish left there, or, without ``replace``, only if there is none.

        Raises:
            Conflict: there is one.
        """

    def copy(self, path: str, source: BlobRef, *, replace: bool = True) -> None:
        """Stores a copy of a blob of the drop container, made by storage itself, as ``upload`` does.

        Raises:
            Conflict: it was overwritten or removed since, or there is a file.
        """

    def read(self, path: str) -> StoredDocument | None:
        """A small file, or None."""

    def listing(self, prefix: str) -> Iterable[BlobRef]:
        """The files whose path begins so."""

    def remove(self, path: str) -> None:
        """Removes a file, if it is there."""


class RolloutQueue(Protocol):
    """The queue ``rollouts``."""

    def ask(self, model: str, *, delay_seconds: int = 0, chain: str | None = None, job: str | None = None) -> None:
        """Says: look at this model, after a while. ``chain``: as the look that this one follows; ``job``: not at its rollout, but
        at that conversion of its newest upload.
        """


class Queues(Protocol):
    """What waits in the account's queues."""

    def waiting(self, queue: str) -> int | None:
        """About how many messages are in it; None where there is no such queue."""


class OperationQueue(Protocol):
    """The queue ``operations``."""

    def ask(self, operation: str, *, delay_seconds: int = 0) -> None:
        """Says: look at this operation, after a while."""


Power = Literal["Running", "Stopped"]
OperationKind = Literal["start", "stop", "pool", "delete"]


@dataclass(frozen=True)
class ClusterState:
    """What Azure says of the cluster and its GPU pool; ``busy`` while an operation runs on either.

    ``pool`` names the GPU pool that is up, of those configured, or the first of them where none is; ``pool_count`` is None where
    there is no pool of ours to scale: the cluster is somebody else's, only its pods are ours.
    ``pool_size``: the VM size of the pool's nodes. ``others``: nodes of all other pools, by VM size. ``owned``,
    ``pool_owned``: whether the cluster and the pool carry our tag. ``may_delete``: whether the cluster's confirmation tag is
    there.
    """

    power: Power
    busy: bool
    pool_count: int | None
    provisioning: str
    pool_size: str = ""
    pool_mode: str = "User"
    pool_owned: bool = False
    owned: bool = False
    may_delete: bool = False
    others: Mapping[str, int] = field(default_factory=dict)
    pool: str = ""


@dataclass(frozen=True)
class OperationState:
    """Where a long operation stands; ``failure`` is Azure's own message."""

    running: bool
    failure: str | None = None


class Cluster(Protocol):
    """The managed cluster, as a resource. Each ``begin_`` returns a token that resumes the operation in any process."""

    def state(self) -> ClusterState:
        """Power, pool size, and whether an operation is under way."""

    def begin_start(self) -> str:
        """Starts the stopped cluster."""

    def begin_stop(self) -> str:
        """Stops the running cluster."""

    def begin_pool(self, count: int, pool: str | None = None) -> str:
        """Sets the node count of a GPU pool; without a name, of the one that is up."""

    def begin_delete(self) -> str:
        """Deletes the stopped cluster; storage, and with it models and servables, is not touched."""

    def operation(self, kind: OperationKind, token: str, pool: str | None = None) -> OperationState:
        """Where the operation stands, on ``pool`` where it is one on a pool. Never waits for it."""


@dataclass(frozen=True)
class ClusterAccess:
    """How the Kubernetes API is reached: by a client certificate (PEM) or by a bearer token, asked for with each request.

    ``verify``: whether the server's certificate is checked, against ``authority`` (PEM) or, without it, the system's own;
    ``server_name`` is the name it must bear, where that is not the address's.
    """

    server: str
    authority: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: Callable[[], str] | None = None
    verify: bool = True
    server_name: str | None = None


SIDECAR = "Sidecar"
"""The reason of a `PodFailure` that is not the model server's: the container beside it does not run."""


@dataclass(frozen=True)
class PodFailure:
    """Why pods do not become ready, in the cluster's words. ``fatal``: waiting will not help."""

    reason: str
    message: str
    fatal: bool


@dataclass(frozen=True)
class Workload:
    """One version's Deployment, or InferenceService.

    ``complete``: the newest generation is rolled out, not merely available. ``options``: those it was rendered for, as JSON.
    """

    version: int
    replicas: int
    complete: bool
    pods: int
    options: str
    failure: PodFailure | None = None
    address: str | None = None


@dataclass(frozen=True)
class Nodes:
    """The nodes for models on GPUs as Kubernetes sees them: how many are ready, GPUs in all and not yet claimed."""

    ready: int
    gpus: int
    gpus_free: int


@dataclass(frozen=True)
class JobState:
    """Where a Job stands. ``failure``: why it failed, or what keeps its pod from running."""

    phase: Literal["active", "succeeded", "failed"]
    failure: PodFailure | None = None


class Workloads(Protocol):
    """The Kubernetes objects of the namespace."""

    def nodes(self) -> Nodes:
        """The nodes for models on GPUs."""

    def of(self, model: str) -> tuple[Workload, ...]:
        """All versions of a model that have a Deployment or InferenceService."""

    def selected(self, model: str) -> int | None:
        """The version that the model's stable Service selects."""

    def apply(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Server-side apply, in order."""

    def scale(self, model: str, version: int, replicas: int) -> None:
        """Sets a version's replicas; a version that has no objects stays without."""

    def delete_version(self, model: str, version: int) -> None:
        """Deletes a version's objects, those that are there."""

    def delete_model(self, model: str) -> None:
        """Deletes all of a model's objects."""

    def job(self, name: str) -> JobState | None:
        """The Job of this name, or None."""

    def delete_job(self, name: str) -> None:
        """Deletes a Job and its pods, if it is there."""


class ModelServer(Protocol):
    """TensorFlow Serving behind an address."""

    def predict(
        self, address: str, model: str, version: int, signature: str, inputs: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The ``outputs`` (column format) for these inputs.

        Raises:
            Unavailable: it did not answer, or with an error; the message is its own.
        """
