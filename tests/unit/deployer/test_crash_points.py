"""A kill, an error or a timeout at any call to the outside changes nothing of how it ends."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.errors import Unavailable
from deployer.ports import PodFailure
from exporter import NotAModel, Stage, TimedOut
from tests.deployed import IN_FUNCTION, Deployed
from tests.fake_cluster import Told
from tests.unit.deployer.bundles import bundle_index, saved_model
from tests.unit.deployer.crashing import Fault, Flow, counted, disturbed, ends_as_if_nothing_had_happened, outcome

REFUSAL = NotAModel("It is no model.", hint="Save it again.", stage=Stage.SCAN)
LATE = TimedOut("It took too long.", hint="Raise the limit.", stage=Stage.LOAD)
AS_JOBS = replace(IN_FUNCTION, where="job")
INDEX, DATA = "cats/variables/variables.index", "cats/variables/variables.data-00000-of-00001"


def one_serves(deployed: Deployed) -> None:
    """The first version serves."""
    deployed.drop("cats.keras", "one", seconds=120)


def pool_at_zero(deployed: Deployed) -> None:
    """Nothing is there, and the GPU pool sleeps."""
    deployed.cluster.begin_pool(0)
    deployed.run(60)


def asleep(deployed: Deployed) -> None:
    """A model that served sleeps."""
    one_serves(deployed)
    deployed.control.order("sleep", None)
    deployed.run(120)


def given_up(deployed: Deployed) -> None:
    """A second upload failed too often for what might have healed."""
    one_serves(deployed)
    deployed.exporter.failures = [LATE] * 5
    deployed.drop("cats.keras", "two", seconds=120)
    deployed.poison.clear()


def directory_serves(deployed: Deployed) -> None:
    """A SavedModel directory serves."""
    put_directory(deployed)
    deployed.run(120)


def state_lost(deployed: Deployed) -> None:
    """Two versions were made, the second serves, and then the state container is emptied."""
    one_serves(deployed)
    deployed.drop("cats.keras", "two", seconds=120)
    deployed.documents.blobs.clear()
    deployed.documents.leases.clear()


def put_directory(deployed: Deployed, content: str = "x" * 300) -> None:
    """A SavedModel directory comes, its graph first."""
    deployed.store.drop("cats/saved_model.pb", saved_model(variables=True))
    deployed.store.drop(INDEX, bundle_index({0: 300}))
    deployed.store.drop(DATA, content)


def overwritten(deployed: Deployed) -> None:
    """While one content is converted, another takes its place."""

    def overwrite() -> None:
        deployed.exporter.during = lambda: None
        deployed.store.drop("cats.keras", "three")

    deployed.exporter.during = overwrite
    deployed.store.drop("cats.keras", "two")


def broken_version(deployed: Deployed) -> None:
    """Another version does not come up and is given up."""
    deployed.kubernetes.told["tfs-cats-v2"] = Told(failure=PodFailure("Error", "cannot parse", fatal=True))
    deployed.store.drop("cats.keras", "two")


def refused_file(deployed: Deployed) -> None:
    """What is dropped is no model."""
    deployed.exporter.refused[b"garbage"] = REFUSAL
    deployed.store.drop("cats.keras", "garbage")


def removed(deployed: Deployed, *, uploads: bool = False) -> None:
    """The model is removed by command; asked again once it is gone, it is not there."""
    if deployed.state.model("cats").removed is None:
        deployed.control.remove("cats", uploads=uploads)


def deleted(deployed: Deployed) -> None:
    """The user deletes the upload of a model that is to go with it."""
    deployed.store.blobs.pop("cats.keras", None)
    deployed.sweep.run()


def out_of_memory(deployed: Deployed) -> None:
    """A conversion needs more memory than its Job may have, however often."""
    deployed.kubernetes.job_failures = [PodFailure("OOMKilled", "", fatal=False)] * 5
    deployed.store.drop("cats.keras", "two")


def stopped(deployed: Deployed) -> None:
    """A model that served sleeps, and the cluster is stopped."""
    asleep(deployed)
    deployed.cluster.begin_stop()
    deployed.run(60)


def repaired(deployed: Deployed) -> None:
    """The state container was lost, and is made anew from the others."""
    deployed.doctor.repair()


FLOWS = [
    Flow("first version", lambda deployed: deployed.store.drop("cats.keras", "one"), pool_at_zero),
    Flow("second version", lambda deployed: deployed.store.drop("cats.keras", "two"), one_serves, looks=True),
    Flow("surge", lambda deployed: deployed.store.drop("cats.keras", "two"), one_serves, gpus=2, steady=True),
    Flow("directory", put_directory, one_serves, gpus=2, steady=True),
    Flow("overwritten", overwritten, one_serves, gpus=2, steady=True),
    Flow("broken version", broken_version, one_serves),
    Flow("broken beside", broken_version, one_serves, gpus=2, steady=True),
    Flow("refused file", refused_file, one_serves, steady=True),
    Flow("new options", lambda deployed: deployed.store.drop("cats.yaml", "replicas: {max: 2}"), one_serves, steady=True),
    Flow("same bytes again", lambda deployed: deployed.store.drop("cats.keras", "one"), one_serves, steady=True),
    Flow("woken", lambda deployed: deployed.waker.wake("cats", by="request"), asleep),
    Flow("slept", lambda deployed: deployed.control.order("sleep", None), one_serves),
    Flow("retried", lambda deployed: deployed.control.retry("cats"), given_up),
    Flow("removed", removed, one_serves),
    Flow("removed with uploads", lambda deployed: removed(deployed, uploads=True), one_serves),
    Flow("upload deleted", deleted, one_serves, retire_deleted=True),
    Flow("repaired", repaired, state_lost),
    Flow("Job overwritten", overwritten, one_serves, gpus=2, steady=True, jobs=AS_JOBS),
    Flow("Job out of memory", out_of_memory, one_serves, steady=True, jobs=AS_JOBS),
    Flow("as a Job", lambda deployed: deployed.store.drop("cats.keras", "two"), stopped, jobs=AS_JOBS),
]  # fmt: skip
UNDISTURBED = {flow: disturbed(flow) for flow in FLOWS}
ENDS: dict[str, object] = {
    "first version": 1, "second version": 2, "surge": 2, "directory": 2, "overwritten": 2, "broken version": 1,
    "broken beside": 1,
    "refused file": 1, "new options": 1, "same bytes again": 1, "woken": 1, "slept": None, "retried": 2,
    "removed": "gone", "removed with uploads": "gone", "upload deleted": None, "repaired": 2,
    "as a Job": 2, "Job overwritten": 2, "Job out of memory": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def folders_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of conversions make a folder each: in memory, where there is such a file system, that takes half the time."""
    memory = Path("/dev/shm")  # noqa: S108  (each makes a folder of its own in it)
    if os.access(memory, os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", str(memory))


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_it_ends_as_if_nothing_had_happened(flow: Flow, fault: Fault) -> None:
    ends_as_if_nothing_had_happened(flow, fault, UNDISTURBED[flow])


def test_the_undisturbed_flows_end_where_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    """Else equality with them would mean nothing."""
    ends = {}
    for flow, deployed in UNDISTURBED.items():
        found = outcome(deployed)
        ends[flow.name] = "gone" if found.get("record", ...) is None else deployed.serving("cats")
        assert found.get("settled", True) and not deployed.poison
    assert ends == ENDS
    assert counted(UNDISTURBED, capsys)[Fault.KILL] > 500


def test_what_serves_is_the_record_that_was_lost() -> None:
    """A repair finds the versions, the one that serves, and what was taken already; nothing is converted anew."""
    deployed = Deployed()
    state_lost(deployed)
    before = Deployed()
    one_serves(before)
    before.drop("cats.keras", "two", seconds=120)
    conversions = deployed.exporter.conversions
    repaired(deployed)
    for _ in range(3):
        deployed.sweep.run()
        deployed.run(120)
    old, new = before.record("cats"), deployed.record("cats")
    assert [(item.version, item.identity, item.serve, item.signatures) for item in new.versions] == [
        (item.version, item.identity, item.serve, item.signatures) for item in old.versions
    ]
    assert (new.desired, new.route, new.next_version) == (old.desired, old.route, old.next_version)
    assert deployed.exporter.conversions == conversions
    deployed.drop("cats.keras", "one")
    assert (deployed.serving("cats"), deployed.exporter.conversions) == (1, conversions)


def test_an_error_that_lasts_is_given_up_and_told() -> None:
    deployed = Deployed()
    deployed.world.fail("uploads.download", Unavailable("storage", "Storage did not do this.", "Look there."), times=99)
    deployed.drop("cats.keras", "one")
    shown = deployed.told_of("cats")
    assert (shown["state"], deployed.store.tags("cats.keras")["slipway_state"]) == ("given_up", "given_up")
    assert "Storage did not do this." in str(shown["reason"]) and "slipway retry cats" in str(shown["hint"])
