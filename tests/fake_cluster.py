"""The cluster's half of the small world: ARM, Kubernetes and TensorFlow Serving, whose doings take the world's time.

A Deployment's pods are scheduled where a GPU is free, start for a while, and become ready or fail as told beforehand.
Implements ``Cluster``, ``Workloads`` and ``ModelServer``.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from deployer.errors import AzureRefused, CloudRefused, ClusterUnreachable, Unavailable
from deployer.names import OPTIONS_ANNOTATION
from deployer.ports import ClusterState, JobState, Nodes, OperationState, PodFailure, Power, Workload
from tests.fakes import FakeServables, World

GPU = "nvidia.com/gpu"
SIZE = "Standard_NC4as_T4_v3"
Kind = Literal["start", "stop", "pool", "delete"]


@dataclass(frozen=True)
class Pace:
    """Seconds that things take."""

    start: float = 60
    stop: float = 40
    pool: float = 30
    node_join: float = 5
    pod_start: float = 8
    pod_stop: float = 3


@dataclass
class _Running:
    kind: Kind
    ends: datetime
    count: int | None
    pool: str
    failure: str | None
    done: bool = False


class FakeCluster:
    """The managed cluster with one GPU a node. Implements ``Cluster``."""

    def __init__(self, world: World, pace: Pace, *, pool_count: int = 0) -> None:
        self._world = world
        self._pace = pace
        self._operations: dict[str, _Running] = {}
        self._power: Power = "Running"
        self.pools: tuple[str, ...] = ("gpu",)
        self._counts: dict[str, int] = {"gpu": pool_count}
        self._joined: datetime = world.now
        self.owned = True  # whether pool and cluster carry our tag
        self.may_delete = False
        self.gone = False
        self.failures: list[str] = []  # what the next operations end with
        self.without_quota: set[str] = set()  # pools that get no nodes

    def state(self) -> ClusterState:
        with self._world.effect("cluster.state", changes=False):
            running = self._running()
            if self.gone:
                raise AzureRefused("azure_not_found", "Azure did not look at cluster 'cluster': there is none.", "")
            provisioning = (
                {"start": "Starting", "stop": "Stopping", "pool": "Updating", "delete": "Deleting"}[running.kind]
                if running
                else ""
            )
            return ClusterState(
                self._power, running is not None, self._counts.get(self._up(), 0), provisioning or "Succeeded", SIZE, "User",
                pool_owned=self.owned, owned=self.owned, may_delete=self.may_delete, others={"Standard_D4s_v5": 1},
                pool=self._up(),
            )  # fmt: skip

    def begin_start(self) -> str:
        return self._begin("start", self._pace.start)

    def begin_stop(self) -> str:
        return self._begin("stop", self._pace.stop)

    def begin_delete(self) -> str:
        return self._begin("delete", self._pace.stop)

    def begin_pool(self, count: int, pool: str | None = None) -> str:
        return self._begin("pool", self._pace.pool, count, pool)

    def operation(self, kind: Kind, token: str, pool: str | None = None) -> OperationState:
        with self._world.effect("cluster.operation", token, changes=False):
            self._running()
            operation = self._operations[token]
            assert operation.kind == kind
            return OperationState(not operation.done, operation.failure if operation.done else None)

    @property
    def nodes(self) -> int:
        """Nodes of the pool that have joined."""
        self._running()
        return sum(self._counts.values()) if self._power == "Running" and self._joined <= self._world.now else 0

    def counts(self) -> dict[str, int]:
        """The nodes of each pool that has any."""
        self._running()
        return {pool: count for pool, count in self._counts.items() if count}

    def _up(self) -> str:
        return next((pool for pool in self.pools if self._counts.get(pool)), self.pools[0])

    @property
    def answers(self) -> bool:
        """Whether the Kubernetes API does."""
        running = self._running()
        return self._power == "Running" and (running is None or running.kind != "start")

    def _begin(self, kind: Kind, seconds: float, count: int | None = None, pool: str | None = None) -> str:
        with self._world.effect(f"cluster.begin_{kind}", "" if count is None else str(count)):
            if self._running() is not None:
                raise CloudRefused("OperationNotAllowed", "Another operation is in progress.", "It is tried again.")
            if self._power == "Stopped" and kind not in ("start", "delete"):
                raise CloudRefused("OperationNotAllowed", "The cluster is stopped.", "It is tried again.")
            token = f"token-{len(self._operations) + 1}"
            failure = self.failures.pop(0) if self.failures else None
            pool = pool or self._up()
            if kind == "pool" and count and pool in self.without_quota:
                failure = f"azure_quota: Azure did not scale pool '{pool}': the vCPU quota of standardNCASv3Family is used up."
            ends = self._world.now + timedelta(seconds=seconds)
            self._operations[token] = _Running(kind, ends, count, pool, failure)
            return token

    def _running(self) -> _Running | None:
        """The operation under way; the one that has come to its end has its effect first."""
        for operation in self._operations.values():
            if operation.done:
                continue
            if operation.ends > self._world.now:
                return operation
            operation.done = True
            if operation.failure is None:
                self._take_effect(operation)
        return None

    def _take_effect(self, operation: _Running) -> None:
        match operation.kind:
            case "start":
                self._power = "Running"
            case "stop":
                self._power = "Stopped"
            case "delete":
                self.gone = True
            case "pool":
                self._counts[operation.pool] = operation.count or 0
        self._joined = operation.ends + timedelta(seconds=self._pace.node_join)


@dataclass
class _Pod:
    name: str
    gpus: int
    scheduled: datetime | None = None
    leaving: datetime | None = None


@dataclass
class FakeJob:
    """A Job whose process the platform runs once it is ``due``; ``told``: what keeps its pod from that."""

    name: str
    arguments: dict[str, str]
    due: datetime
    state: JobState = field(default_factory=lambda: JobState("active"))
    told: PodFailure | None = None


@dataclass(frozen=True)
class Told:
    """What becomes of a version's pods: ``failure`` keeps them from being ready; ``answer`` makes them answer otherwise."""

    failure: PodFailure | None = None
    answer: float | None = None


@dataclass
class FakeKubernetes:
    """The API server, its controllers and kubelets. Implements ``Workloads``."""

    world: World
    cluster: FakeCluster
    pace: Pace
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)  # by the Deployment's name
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    job_failures: list[PodFailure] = field(
        default_factory=list
    )  # of the next Jobs: fatal ones keep their pods from running
    _pods: list[_Pod] = field(default_factory=list)

    def nodes(self) -> Nodes:
        with self._asked("nodes", changes=False):
            count = self.cluster.nodes
            used = sum(pod.gpus for pod in self._settled() if pod.scheduled is not None)
            return Nodes(count, count, count - used)

    def of(self, model: str) -> tuple[Workload, ...]:
        with self._asked("of", model, changes=False):
            found = [item for (kind, _), item in sorted(self.objects.items()) if kind == "Deployment"]
            return tuple(self._workload(item) for item in found if item["metadata"]["labels"]["app"] == model)

    def selected(self, model: str) -> int | None:
        with self._asked("selected", model, changes=False):
            service = self.objects.get(("Service", f"tfs-{model}"))
            return None if service is None else int(service["spec"]["selector"]["version"].removeprefix("v"))

    def apply(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        for manifest in manifests:
            key = (manifest["kind"], manifest["metadata"]["name"])
            with self._asked("apply", "/".join(key)):
                self.objects[key] = copy.deepcopy(dict(manifest))
                if manifest["kind"] == "Job" and key[1] not in self.jobs:
                    (container,) = manifest["spec"]["template"]["spec"]["containers"]
                    given = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
                    due = self.world.now + timedelta(seconds=self.pace.pod_start)
                    told = self.job_failures.pop(0) if self.job_failures else None
                    self.jobs[key[1]] = FakeJob(key[1], given, due, told=told)

    def job(self, name: str) -> JobState | None:
        with self._asked("job", name, changes=False):
            found = self.jobs.get(name)
            return None if found is None else found.state

    def delete_job(self, name: str) -> None:
        with self._asked("delete_job", name):
            self.objects.pop(("Job", name), None)
            self.jobs.pop(name, None)

    def due_job(self) -> FakeJob | None:
        """The Job whose pod runs by now; one that was told to fail does so instead."""
        if not self.cluster.answers:
            return None
        for job in self.jobs.values():
            if job.state.phase == "active" and job.due <= self.world.now:
                if job.told is None:
                    return job
                job.state = JobState("active" if job.told.fatal else "failed", job.told)
        return None

    def scale(self, model: str, version: int, replicas: int) -> None:
        name = f"tfs-{model}-v{version}"
        with self._asked("scale", f"{name} to {replicas}"):
            if (deployment := self.objects.get(("Deployment", name))) is not None:
                deployment["spec"]["replicas"] = replicas

    def delete_version(self, model: str, version: int) -> None:
        with self._asked("delete_version", f"tfs-{model}-v{version}"):
            for key in [key for key in self.objects if key[1] == f"tfs-{model}-v{version}"]:
                del self.objects[key]

    def delete_model(self, model: str) -> None:
        with self._asked("delete_model", model):
            for key, item in list(self.objects.items()):
                if item["metadata"].get("labels", {}).get("app") == model:
                    del self.objects[key]
                    self.jobs.pop(key[1], None)

    def ready(self, name: str) -> bool:
        """Whether a pod of this Deployment answers."""
        if not self.cluster.answers or self.told.get(name, Told()).failure is not None:
            return False
        since = self.world.now - timedelta(seconds=self.pace.pod_start)
        return any(
            pod.name == name and pod.leaving is None and pod.scheduled is not None and pod.scheduled <= since
            for pod in self._settled()
        )

    def replicas(self, model: str) -> dict[int, int]:
        """The replicas that each version's Deployment has."""
        return {
            int(item["metadata"]["labels"]["version"].removeprefix("v")): item["spec"]["replicas"]
            for (kind, _), item in self.objects.items()
            if kind == "Deployment" and item["metadata"]["labels"]["app"] == model
        }

    def _asked(self, what: str, subject: str = "", *, changes: bool = True) -> Any:
        if not self.cluster.answers:
            raise ClusterUnreachable("kubernetes_unreachable", "The Kubernetes API did not answer.")
        return self.world.effect(f"workloads.{what}", subject, changes=changes)

    def _workload(self, deployment: Mapping[str, Any]) -> Workload:
        name, wanted = deployment["metadata"]["name"], deployment["spec"]["replicas"]
        pods = [pod for pod in self._settled() if pod.name == name]
        ready = self.ready(name)
        waiting = any(pod.scheduled is None for pod in pods)
        failure = self.told.get(name, Told()).failure
        if waiting:
            failure = PodFailure(
                "Unschedulable", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.", fatal=False
            )
        return Workload(
            version=int(deployment["metadata"]["labels"]["version"].removeprefix("v")), replicas=wanted,
            complete=wanted > 0 and ready and not waiting and all(pod.leaving is None for pod in pods),
            pods=len(pods), options=deployment["metadata"].get("annotations", {}).get(OPTIONS_ANNOTATION, ""),
            failure=None if ready and not waiting else failure, address=f"http://{name}:8501",
        )  # fmt: skip

    def _settled(self) -> list[_Pod]:
        """The pods, after the controllers and the scheduler have done what they do at once."""
        now, gone = self.world.now, timedelta(seconds=self.pace.pod_stop)
        self._pods = [pod for pod in self._pods if pod.leaving is None or pod.leaving + gone > now]
        wanted = {name: item["spec"] for (kind, name), item in self.objects.items() if kind == "Deployment"}
        for name in {pod.name for pod in self._pods} | wanted.keys():
            mine = [pod for pod in self._pods if pod.name == name and pod.leaving is None]
            replicas = wanted[name]["replicas"] if name in wanted else 0
            for pod in mine[replicas:]:
                pod.leaving = now
            for _ in range(replicas - len(mine)):
                (container,) = wanted[name]["template"]["spec"]["containers"]
                self._pods.append(_Pod(name, int(container["resources"]["limits"].get(GPU, 0))))
        nodes = self.cluster.nodes
        if nodes == 0:  # evicted with their nodes
            for pod in self._pods:
                if pod.gpus:
                    pod.scheduled = None
        for pod in self._pods:
            used = sum(other.gpus for other in self._pods if other.scheduled is not None)
            if pod.scheduled is None and pod.leaving is None and (pod.gpus == 0 or used + pod.gpus <= nodes):
                pod.scheduled = now
        return self._pods


@dataclass(frozen=True)
class FakeServer:
    """TensorFlow Serving behind each version's Service. Implements ``ModelServer``: answers what was recorded."""

    kubernetes: FakeKubernetes
    servables: FakeServables

    def predict(
        self, address: str, model: str, version: int, signature: str, inputs: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        name = address.removeprefix("http://").removesuffix(":8501")
        with self.kubernetes.world.effect("server.predict", name, changes=False):
            if name not in (f"tfs-{model}-v{version}", f"tfs-{model}--bridge-v{version}") or not self.kubernetes.ready(
                name
            ):
                raise Unavailable("model_server", f"{address} gave no answer: connection refused")
            goldens = json.loads(self.servables.blobs[f"{model}/{version}/servable.json"].data)["golden"]
            (golden,) = (item for item in goldens if item["signature"] == signature and item["inputs"] == inputs)
            told = self.kubernetes.told.get(name, Told())
            if told.answer is not None:
                return dict.fromkeys(golden["outputs"], told.answer)
            outputs: dict[str, Any] = golden["outputs"]
            return outputs
