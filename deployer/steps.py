"""What a rollout's plan looks at, and the steps it may decide on. Pure values: ``deployer.plan`` chooses, ``deployer.execute``
performs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from deployer.canary import Figures
from deployer.ports import ClusterState, Nodes, Workload


@dataclass(frozen=True)
class ClusterView:
    """The cluster as observed; ``nodes`` is None where its API does not answer.

    ``failure``: of the last operation, if it failed, seen at ``failed``; Azure wants to be left alone until ``again``.
    ``refused``: the GPU pools that got no nodes in this wake, for lack of quota or capacity. ``slept``: when the cluster's stop
    was begun. ``leaving``: what an operation under way takes away.
    """

    state: ClusterState
    nodes: Nodes | None = None
    failure: str | None = None
    failed: datetime | None = None
    again: datetime | None = None
    refused: tuple[str, ...] = ()
    slept: datetime | None = None
    leaving: Literal["pool", "cluster"] | None = None


@dataclass(frozen=True)
class RolloutView:
    """A model's objects as observed: its versions' Deployments, and the version its stable Service selects.

    ``figures``: what the proxy saw of each version since the trial of a canary began.
    """

    workloads: Mapping[int, Workload] = field(default_factory=dict)
    selected: int | None = None
    figures: Mapping[int, Figures] = field(default_factory=dict)


@dataclass(frozen=True)
class RolloutPolicy:
    """The bounds of a rollout, and how many nodes the GPU pool has when awake.

    ``pools``: the GPU pool, and those to try in its place, in turn. ``restart_gap``: least time between a cluster's stop and its
    start. ``figures_lag``: how late the proxy's figures may be.
    """

    gpu_nodes: int
    cluster_limit: timedelta
    pods_limit: timedelta
    prove_limit: timedelta
    drain: timedelta
    pools: tuple[str, ...] = ("gpu",)
    restart_gap: timedelta = timedelta(0)
    figures_lag: timedelta = timedelta(0)


@dataclass(frozen=True)
class WakeCluster:
    """Start the cluster if it is stopped; else give the GPU pool of this name ``nodes`` nodes."""

    start: bool
    nodes: int
    pool: str


@dataclass(frozen=True)
class AwaitCluster:
    """The cluster or its nodes are on the way; ``stage``: of a wake."""

    message: str
    stage: Literal["teardown", "cluster", "gpu-pool", "gpu-node"]


@dataclass(frozen=True)
class AwaitRestart:
    """The cluster may not be started again before ``due``."""

    message: str
    due: datetime


@dataclass(frozen=True)
class Apply:
    """Bring a version's objects to so many replicas; 0 makes room for another version."""

    version: int
    replicas: int


@dataclass(frozen=True)
class AwaitPods:
    """Pods are on the way, or on their way out."""

    message: str


@dataclass(frozen=True)
class Prove:
    """Ask the version's own Service for its golden prediction."""

    version: int
    address: str


@dataclass(frozen=True)
class Try:
    """Send a share (per cent) of the requests to a proven version, beside the one that serves."""

    version: int
    address: str
    share: float


@dataclass(frozen=True)
class AwaitCanary:
    """A version is on trial."""

    message: str


@dataclass(frozen=True)
class EndTrial:
    """Send no more requests to a version on trial: another is wanted by now."""

    version: int


@dataclass(frozen=True)
class Switch:
    """Send requests to the version. ``why``: what speaks for it."""

    version: int
    address: str
    why: str = "it proved itself"


@dataclass(frozen=True)
class RollBack:
    """Give the version up and go (back) to another; ``to`` None: there is none. ``blame``: the model itself is at fault."""

    version: int
    to: int | None
    reason: str
    hint: str
    blame: bool


@dataclass(frozen=True)
class Retire:
    """Delete the objects of versions that no longer serve, once ``due``."""

    versions: tuple[int, ...]
    due: datetime


@dataclass(frozen=True)
class Forget:
    """Delete the servables of old versions that are not kept; nothing of them runs any more."""

    versions: tuple[int, ...]


@dataclass(frozen=True)
class Settled:
    """Nothing to do."""

    message: str


Step = (
    WakeCluster
    | AwaitCluster
    | AwaitRestart
    | Apply
    | AwaitPods
    | Prove
    | Try
    | AwaitCanary
    | EndTrial
    | Switch
    | RollBack
    | Retire
    | Forget
    | Settled
)
