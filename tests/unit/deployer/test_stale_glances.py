"""What a listing tells of a model may be older than its record by the time something is done: that is decided on the record."""

import pytest

from deployer.errors import SlipwayError
from deployer.glance import KEY, metadata_of
from deployer.idle import SleepModels, Stay
from deployer.record import ModelRecord
from tests.deployed import Deployed
from tests.unit.deployer.test_idle_and_wake import idle

HOUR = 3600.0


@pytest.fixture
def deployed() -> Deployed:
    return Deployed().drop("cats.keras", "one")


def claim(deployed: Deployed, **otherwise: object) -> ModelRecord:
    """The listing tells otherwise of the model than its record does."""
    record = deployed.record("cats")
    deployed.documents.blobs["models/cats.json"].metadata = dict(metadata_of(record.but(**otherwise)))
    return record


def test_a_model_that_is_said_to_sleep_and_does_not_keeps_its_pods(deployed: Deployed) -> None:
    claim(deployed, asleep=True, route=None, changed_rung=deployed.world.now)
    deployed.tick()
    assert (deployed.serving("cats"), deployed.kubernetes.replicas("cats")) == (1, {1: 1})


def test_a_model_that_was_woken_since_it_was_seen_idle_is_not_put_to_sleep(deployed: Deployed) -> None:
    deployed.run(2 * HOUR)
    deployed.state.change("cats", lambda record: record.but(changed_rung=deployed.world.now))
    claim(deployed, changed_rung=None)
    assert isinstance(deployed.tick(), SleepModels)
    assert deployed.serving("cats") == 1 and not deployed.record("cats").asleep


def test_a_model_that_is_said_to_serve_and_sleeps_is_not_brought_back(deployed: Deployed) -> None:
    served = deployed.record("cats")
    idle(deployed, HOUR)
    slept = claim(deployed, asleep=False, route=served.route)
    assert slept.asleep and deployed.cluster.state().pool_count == 0
    deployed.tick()
    assert deployed.record("cats") == slept and not deployed.queue.messages


def test_metadata_that_tells_nothing_is_made_good_by_a_read(deployed: Deployed) -> None:
    deployed.run(1900)
    deployed.request("cats")
    for metadata in ({}, {KEY: "-"}, {KEY: "{}"}):
        deployed.documents.blobs["models/cats.json"].metadata = metadata
        assert isinstance(deployed.tick(), Stay)
        assert deployed.serving("cats") == 1


def test_a_record_that_cannot_be_read_keeps_all_that_runs(deployed: Deployed) -> None:
    """It may be of a model that serves."""
    idle(deployed, 600)
    deployed.documents.store("models/cats.json", b"{")
    for _ in range(3):
        deployed.world.pass_time(HOUR)
        with pytest.raises(SlipwayError, match=r"models/cats\.json"):
            deployed.teardown.run()
    assert deployed.cluster.state().pool_count == 1 and deployed.kubernetes.replicas("cats") == {1: 1}
