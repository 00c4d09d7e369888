"""Rollouts through planner, executor and adapter on a cluster known by its kubeconfig, in either flavor.

The cluster is the stand-in with KServe installed, as a process; its pods run a small HTTP server.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.adapters.workloads import Flavor
from deployer.idle import SleepModels, Stay
from tests.contract.deployer.aks_process import AksProcess
from tests.contract.deployer.real_rollouts import RealRollouts, write_kubeconfig

FLAVORS: tuple[Flavor, ...] = ("kubeflow", "kserve")


@pytest.fixture
def config(kserve_cluster: AksProcess, tmp_path: Path) -> Path:
    ready = kserve_cluster.ready
    return write_kubeconfig(tmp_path / "config", ready["kubernetes_url"], ready["kubernetes_token"])


@pytest.fixture(params=FLAVORS)
def deployed(config: Path, request: pytest.FixtureRequest) -> Iterator[RealRollouts]:
    made = RealRollouts(config, request.param, "test/serving:1")
    yield made
    made.real.delete_model("cats")
    made.run_until(lambda: made.real.nodes().gpus_free == 1, "the GPU is given back")


def test_a_model_is_proven_switched_rolled_back_put_to_sleep_and_woken(deployed: RealRollouts) -> None:
    """On the cluster's one GPU; the idle ladder ends at pods."""
    deployed.store.drop("cats.keras", "one")
    deployed.settled_on("cats", 1)
    assert {"Apply", "AwaitPods", "Prove", "Switch"} <= set(deployed.steps)
    route = deployed.record("cats").route
    assert route is not None and deployed.answering.asked == [route.address]
    assert deployed.real.selected("cats") == 1

    deployed.store.drop("cats.keras", "two")
    deployed.settled_on("cats", 2)
    assert [work.version for work in deployed.real.of("cats")] == [2]
    assert deployed.real.selected("cats") == 2

    deployed.answering.wrong.add(("cats", 3))
    deployed.store.drop("cats.keras", "three")
    deployed.run_until(
        lambda: deployed.state.model("cats").has(3) and deployed.record("cats").version(3).state == "failed",
        "v3 is given up",
    )
    deployed.settled_on("cats", 2)
    assert "answers otherwise" in (deployed.record("cats").version(3).reason or "")
    assert [work.version for work in deployed.real.of("cats")] == [2]

    deployed.world.pass_time(3600)
    assert isinstance(deployed.tick(), SleepModels)
    deployed.run_until(lambda: all(work.pods == 0 for work in deployed.real.of("cats")), "its pods are gone")
    assert [work.replicas for work in deployed.real.of("cats")] == [0]
    assert deployed.control.cluster()["state"] == "pods"
    deployed.world.pass_time(24 * 3600)
    assert deployed.tick() == Stay("all models are asleep")
    deployed.request("cats")
    deployed.settled_on("cats", 2)


def test_a_version_that_does_not_come_up_is_given_up_with_its_own_words(config: Path) -> None:
    """KServe's Deployment says no more than "not ready": the reason stands on the pods, in this flavor, too."""
    deployed = RealRollouts(config, "kserve", "test/serving:1")
    try:
        deployed.store.drop("broken.yaml", "gpus: 0")
        deployed.store.drop("broken.keras", "one")
        deployed.run_until(
            lambda: (
                deployed.state.find("broken") is not None
                and deployed.record("broken").has(1)
                and deployed.record("broken").version(1).state == "failed"
            ),
            "it is given up",
        )
        assert "cannot parse saved_model.pb" in (deployed.record("broken").version(1).reason or "")
        deployed.run_until(lambda: deployed.real.of("broken") == (), "nothing is left of it")
    finally:
        deployed.real.delete_model("broken")


def test_the_flavor_of_a_model_can_be_changed(config: Path) -> None:
    """The version that serves is applied anew as an InferenceService; the Deployment it was gives its GPU back first."""
    before = RealRollouts(config, "kubeflow", "test/serving:1")
    before.store.drop("cats.keras", "one")
    before.settled_on("cats", 1)
    after = RealRollouts(config, "kserve", "test/serving:1")
    after.documents.blobs, after.servables.blobs = before.documents.blobs, before.servables.blobs
    try:
        after.world.now = before.world.now
        after.queue.ask("cats")
        after.run_until(
            lambda: all(work.complete and work.options for work in after.real.of("cats")), "it is rolled out again"
        )
        (work,) = after.real.of("cats")
        route = after.record("cats").route
        assert route is not None and route.address == work.address
        assert before.real.of("cats") == ()  # no Deployment of the other flavor is left
    finally:
        after.real.delete_model("cats")


def test_a_range_of_replicas_is_scaled_by_kserve_and_still_goes_to_0(config: Path) -> None:
    deployed = RealRollouts(config, "kserve", "test/serving:1")
    try:
        deployed.store.drop("cats.yaml", "gpus: 0\nreplicas: {min: 2, max: 4}\n")
        deployed.store.drop("cats.keras", "one")
        deployed.settled_on("cats", 1)
        assert [(work.replicas, work.complete) for work in deployed.real.of("cats")] == [(2, True)]
        deployed.real.scale("cats", 1, 0)
        deployed.run_until(lambda: deployed.real.of("cats") == (), "it is gone whole")
        deployed.queue.ask("cats")
        deployed.run_until(lambda: [work.complete for work in deployed.real.of("cats")] == [True], "it is back")
    finally:
        deployed.real.delete_model("cats")
