"""The real Deployment and ReplicaSet controllers, step by step, in whatever order: a rollout keeps its promises.

Nothing runs by itself here. Hypothesis chooses what happens next: a controller looks at an object that changed, a probe
succeeds or fails, a pod is killed, a terminating pod ends, the Deployment is updated or scaled.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.kubernetes.controllers.deployment_plan import Wanted
from localcloud.kubernetes.controllers.deployments import DeploymentController
from localcloud.kubernetes.controllers.namespaces import NamespaceController
from localcloud.kubernetes.controllers.replica_sets import ReplicaSetController
from localcloud.kubernetes.controllers.runtime import Controller
from localcloud.kubernetes.deletion import DeleteOptions, delete
from localcloud.kubernetes.objects import clone, is_terminating, is_true, labels_of, name_of, template_hash
from localcloud.kubernetes.registry import Registry, Write
from localcloud.kubernetes.resources import DEPLOYMENTS, PODS
from localcloud.kubernetes.service_addresses import ServiceAddresses
from localcloud.kubernetes.store import Change, Key, Store

Object = dict[str, Any]
KEY = ("default", "tfs")
_ENOUGH_STEPS = 3000


class Cluster:
    """A store with the two controllers over it, each step taken by hand."""

    def __init__(self, data: Path, strategy: Object, replicas: int) -> None:
        self.store = Store(data)
        self.registry = Registry(self.store, ServiceAddresses(self.store, None))
        namespaces = NamespaceController(self.registry)
        for _ in range(2):  # the namespace, then its service account
            namespaces.reconcile(("", "default"))
        self._controllers: list[Controller] = [DeploymentController(self.registry), ReplicaSetController(self.registry)]
        self._due: dict[tuple[Controller, Key], None] = {}
        self.store.subscribe(self._on_change)
        self.lost = 0
        """Pods that became unavailable behind the controllers' backs: what they decide cannot make up for them."""
        container = {"name": "serving", "image": "tensorflow/serving:1"}
        template = {"metadata": {"labels": {"app": "tfs"}}, "spec": {"containers": [container]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "tfs"}}, "template": template}
        body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tfs"}}
        self.registry.create(DEPLOYMENTS, "default", {**body, "spec": {**spec, "strategy": strategy}}, Write("test"))
        self.wants = [self.wanted]
        """What was wanted since everything was last at rest: the limits of all of it may be met with."""

    def _on_change(self, change: Change) -> None:
        for controller in self._controllers:
            for key in controller.concerned(change):
                self._due[controller, key] = None

    @property
    def deployment(self) -> Object:
        return self.registry.get(DEPLOYMENTS, *KEY)

    @property
    def wanted(self) -> Wanted:
        return Wanted.of(self.deployment["spec"])

    @property
    def pods(self) -> list[Object]:
        return self.store.objects(PODS)

    @property
    def active(self) -> list[Object]:
        return [pod for pod in self.pods if not is_terminating(pod)]

    @property
    def available(self) -> int:
        return sum(is_true(pod, "Ready") for pod in self.active)

    def look(self, choice: int) -> None:
        """Lets one controller take one step, and checks what it did to the pods."""
        if not self._due:
            self.lost, self.wants = 0, [self.wanted]
            return
        controller, key = list(self._due)[choice % len(self._due)]
        del self._due[controller, key]
        available, active, names = self.available, len(self.active), {name_of(pod) for pod in self.pods}
        controller.reconcile(key)
        least = min(wanted.replicas - wanted.max_unavailable for wanted in self.wants)
        most = max(wanted.replicas + wanted.max_surge for wanted in self.wants)
        recreate = all(wanted.recreate for wanted in self.wants)
        assert len(self.active) <= max(most, active), "more pods than allowed"
        if self.available < available and not recreate:
            assert self.available + self.lost >= least, "fewer available than allowed"
        if recreate and {name_of(pod) for pod in self.pods} - names:
            assert len({labels_of(pod)["pod-template-hash"] for pod in self.pods}) == 1, "two revisions at once"

    def probe(self, choice: int, *, ready: bool) -> None:
        """A pod's node and readiness as a kubelet reports them."""
        if not self.active:
            return
        pod = self.active[choice % len(self.active)]
        if not ready and is_true(pod, "Ready"):
            self.lost += 1
        changed = clone(pod)
        changed["spec"]["nodeName"] = "n"
        bound = self.registry.update(PODS, "default", name_of(pod), changed, Write("kube-scheduler", "binding"))
        condition = {"type": "Ready", "status": str(ready)}
        reported = {**bound, "status": {**bound["status"], "phase": "Running", "conditions": [condition]}}
        self.registry.update(PODS, "default", name_of(pod), reported, Write("kubelet", "status"))

    def kill(self, choice: int) -> None:
        """Someone deletes a pod."""
        if self.active:
            pod = self.active[choice % len(self.active)]
            self.lost += is_true(pod, "Ready")
            delete(self.registry, PODS, "default", name_of(pod), DeleteOptions())

    def end(self, choice: int) -> None:
        """A terminating pod has stopped."""
        ending = [pod for pod in self.pods if is_terminating(pod)]
        if ending:
            name = name_of(ending[choice % len(ending)])
            delete(self.registry, PODS, "default", name, DeleteOptions(grace_seconds=0))

    def update(self, choice: int) -> None:
        """A new revision, or an older one again."""
        changed = clone(self.deployment)
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = f"tensorflow/serving:{choice % 4}"
        self.registry.update(DEPLOYMENTS, *KEY, changed, Write("test"))

    def scale(self, choice: int) -> None:
        """Another number of replicas."""
        changed = clone(self.deployment)
        changed["spec"]["replicas"] = choice % 5
        self.registry.update(DEPLOYMENTS, *KEY, changed, Write("test"))
        self.wants.append(self.wanted)

    def settle(self, order: random.Random) -> None:
        """Every pod gets ready and every terminating one ends, in some order, until nothing is left to do."""
        for _ in range(_ENOUGH_STEPS):
            unready = [number for number, pod in enumerate(self.active) if not is_true(pod, "Ready")]
            ending = [pod for pod in self.pods if is_terminating(pod)]
            can: list[Callable[[], None]] = []
            if self._due:
                can.append(lambda: self.look(order.randrange(100)))
            if unready:
                can.append(partial(self.probe, order.choice(unready), ready=True))
            if ending:
                can.append(lambda: self.end(order.randrange(100)))
            if not can:
                return
            order.choice(can)()
        pytest.fail(f"not at rest after {_ENOUGH_STEPS} steps")


@contextmanager
def cluster(strategy: Object, replicas: int) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory() as data:
        made = Cluster(Path(data), strategy, replicas)
        try:
            yield made
        finally:
            made.store.close()


def shuffled(seed: int) -> random.Random:
    """An order in which things happen, the same one each time."""
    return random.Random(seed)  # noqa: S311  (not a secret)


AMOUNTS = st.one_of(st.integers(0, 3), st.sampled_from(["0%", "25%", "50%", "100%"]))
ROLLING = st.tuples(AMOUNTS, AMOUNTS).filter(lambda pair: any(amount not in (0, "0%") for amount in pair))
STRATEGIES = st.one_of(
    st.just({"type": "Recreate"}),
    ROLLING.map(lambda p: {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": p[0], "maxUnavailable": p[1]}}),
)
ACTIONS: dict[str, Callable[[Cluster, int], None]] = {
    "look": Cluster.look,
    "look again": Cluster.look,  # twice, so that the controllers keep up with what happens to the pods
    "ready": lambda cluster, choice: cluster.probe(choice, ready=True),
    "unready": lambda cluster, choice: cluster.probe(choice, ready=False),
    "kill": Cluster.kill,
    "end": Cluster.end,
    "update": Cluster.update,
    "scale": Cluster.scale,
}
HAPPENINGS = st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.integers(0, 11)), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STRATEGIES, st.integers(0, 4), HAPPENINGS, st.integers(0, 2**32))
def test_whatever_happens_in_whatever_order_limits_hold_and_the_wanted_state_comes(
    strategy: Object, replicas: int, happenings: list[tuple[str, int]], seed: int
) -> None:
    with cluster(strategy, replicas) as made:
        made.settle(shuffled(seed))
        for action, choice in happenings:
            ACTIONS[action](made, choice)
        made.settle(shuffled(seed))
        deployment = made.deployment
        wanted, status = deployment["spec"]["replicas"], deployment["status"]
        digest = template_hash(deployment["spec"]["template"])
        assert [labels_of(pod)["pod-template-hash"] for pod in made.pods] == [digest] * wanted
        assert all(is_true(pod, "Ready") for pod in made.pods)
        assert status["observedGeneration"] == deployment["metadata"]["generation"]
        assert [status.get(n, 0) for n in ("replicas", "updatedReplicas", "availableReplicas")] == [wanted] * 3


def test_the_checks_above_see_a_pod_too_many_and_one_too_few() -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    with cluster(rolling, 2) as made:
        made.settle(shuffled(0))
        made.update(2)
        made.wants = [Wanted(2, 0, 0, recreate=False)]
        with pytest.raises(AssertionError, match="fewer available than allowed"):
            made.settle(shuffled(0))
    with cluster({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, 2) as made:
        made.settle(shuffled(0))
        made.update(2)
        made.wants = [Wanted(2, 0, 0, recreate=False)]
        with pytest.raises(AssertionError, match="more pods than allowed"):
            made.settle(shuffled(0))
