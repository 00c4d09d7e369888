"""The small world's storage and platform before a real Kubernetes API: planner, executor and adapter as they are deployed.

Time of the world follows the clock of the wall, faster, so that pods have the time they need.
"""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from deployer.adapters import kubeconfig
from deployer.adapters.existing_cluster import ExistingCluster
from deployer.adapters.workloads import Flavor, KubernetesWorkloads
from deployer.bridging import Bridges
from deployer.control import Control
from deployer.errors import Unavailable
from deployer.execute import Executor
from deployer.ports import Cluster, ClusterAccess
from deployer.record import VersionRecord
from deployer.removal import Removals
from deployer.rollback import Rollbacks
from deployer.rollout import Rollouts
from deployer.settings import ServingSettings
from deployer.steps import RolloutPolicy
from deployer.teardown import Teardown
from deployer.templates import Templates
from tests.deployed import IDLE, Deployed
from tests.fakes import FakeServables

_DEADLINE = 120.0
_POLICY = RolloutPolicy(1, timedelta(minutes=30), timedelta(minutes=20), timedelta(minutes=10), timedelta(seconds=1))


class Prompt(Templates):
    """The product's templates, without the seconds that a pod goes on for the sake of endpoints."""

    def version(self, model: str, version: VersionRecord, replicas: int) -> list[dict[str, Any]]:
        """All that a version needs."""
        manifests = super().version(model, version, replicas)
        for manifest in manifests:
            match manifest:
                case {"spec": {"template": {"spec": pod}}} | {"spec": {"predictor": pod}}:
                    del pod["containers"][0]["lifecycle"]
        return manifests


class AnsweringServer:
    """TensorFlow Serving's part: pods are really asked, and say what was recorded unless told otherwise."""

    def __init__(self, servables: FakeServables) -> None:
        self._servables = servables
        self.wrong: set[tuple[str, int]] = set()  # versions that answer otherwise than at their conversion
        self.asked: list[str] = []

    def predict(
        self, address: str, model: str, version: int, signature: str, inputs: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """What the version's servable has recorded, if a pod answers at the address."""
        try:
            urllib.request.urlopen(f"{address}/v1/models/{model}/versions/{version}", timeout=10).close()  # noqa: S310
        except OSError as error:
            raise Unavailable("model_server", f"{address} gave no answer: {error}") from error
        self.asked.append(address)
        manifest = json.loads(self._servables.blobs[f"{model}/{version}/servable.json"].data)
        outputs: Mapping[str, Any] = manifest["golden"][0]["outputs"]
        return {"scores": -1.0} if (model, version) in self.wrong else outputs


class RealRollouts(Deployed):
    """``Deployed`` with the cluster of a kubeconfig in the place of the fakes."""

    policy = _POLICY
    gpu_nodes: Mapping[str, str] = {}

    def __init__(self, config: Path, flavor: Flavor, image: str) -> None:
        self._config = config
        self._flavor = flavor
        self._serving = ServingSettings(image=image, gpu_image=image, flavor=flavor)
        super().__init__()

    def restart(self) -> None:
        """A fresh process, as ``deployer.wiring`` puts it together for a kubeconfig."""
        super().restart()
        clock = self.world.clock
        self.azure, access = self.reached()
        self.real = KubernetesWorkloads(access, gpu_nodes=self.gpu_nodes, flavor=self._flavor)
        self.answering = AnsweringServer(self.servables)
        templates = Prompt(self._serving, self.gpu_nodes, "test399", "slipway", 60)
        executor = Executor(
            self.state, self.azure, self.real, self.servables, self.store, self.answering, templates, clock
        )
        self.rollouts = Rollouts(
            self.state, self.documents, self.azure, self.real, self.queue, executor, self.policy, 1, clock
        )
        bridges = Bridges(
            self.state, self.azure, self.real, self.servables, self.answering, templates, enabled=self.bridged
        )
        self.teardown = Teardown(
            self.state, self.documents, self.azure, self.real, self.waker, self.ledger, IDLE, self.defaults, self.costs,
            clock, bridges, self.uploads.repairs.lost,
        )  # fmt: skip
        self.removals = Removals(
            self.state, self.documents, self.store, self.servables, self.azure, self.real, self.queue, clock
        )
        self.control = Control(
            self.state,
            self.teardown,
            self.ledger,
            self.removals,
            self.retries,
            Rollbacks(self.state, self.store, self.queue, clock),
            "gpu",
            timedelta(minutes=60),
            clock,
        )

    def reached(self) -> tuple[Cluster, Callable[[], ClusterAccess]]:
        """The cluster, and the way to its Kubernetes API."""
        given = str(self._config)
        return ExistingCluster(), lambda: kubeconfig.access(given, "", lambda _: "")

    def run_until(self, reached: Callable[[], bool], what: str) -> None:
        """The platform delivers what falls due until then, within a bound."""
        deadline = time.monotonic() + _DEADLINE
        while not reached():
            assert time.monotonic() < deadline, (
                f"waited in vain until {what}: {self.documents.blobs.keys()}, {self.steps}"
            )
            self.run(seconds=1)
            time.sleep(0.1)

    def settled_on(self, model: str, version: int) -> None:
        """Runs until this version serves and nothing remains to be done."""

        def reached() -> bool:
            record = self.record(model) if self.state.find(model) else None
            return bool(record and record.settled and record.route and record.route.version == version)

        self.run_until(reached, f"v{version} of '{model}' serves")


def write_kubeconfig(path: Path, server: str, token: str) -> Path:
    """A kubeconfig of one cluster and one user."""
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "stand-in",
        "clusters": [{"name": "stand-in", "cluster": {"server": server}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "admin"}}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content))
    return path
