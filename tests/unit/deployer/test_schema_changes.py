"""A version that would break clients is held back, with a diff that people can read, until its owner accepts it."""

import json

import pytest

from deployer.schema import breaking_change, known_to_clients
from exporter.manifest import TensorSpec
from tests.deployed import Deployed

PICTURE = {"picture": TensorSpec(dtype="string", shape=[None])}


@pytest.fixture
def deployed() -> Deployed:
    """The first version serves; those to come take another input."""
    deployed = Deployed().drop("cats.keras", "one")
    deployed.exporter.inputs = PICTURE
    return deployed


def test_it_is_held_back_with_a_readable_diff_and_what_serves_serves_on(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "two")
    version = deployed.record("cats").version(2)
    assert (deployed.serving("cats"), version.state, deployed.kubernetes.replicas("cats")) == (1, "held", {1: 1})
    assert len(version.schema_change) == 2
    assert all(line.startswith("! classify_image.inputs.") for line in version.schema_change)
    assert any("image_bytes" in line and "no longer taken" in line for line in version.schema_change)
    assert any("picture" in line and "has to be given now" in line for line in version.schema_change)
    told = deployed.told_of("cats")
    assert told["state"] == "held"
    assert "v2 is held back, for it breaks what clients of v1 rely on" in str(told["reason"])
    assert "accept_schema_change: true" in str(told["hint"])
    assert deployed.store.tags("cats.keras")["slipway_state"] == "held"


def test_once_accepted_the_same_version_serves_without_another_conversion(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "two")
    deployed.drop("cats.yaml", "accept_schema_change: true")
    record = deployed.record("cats")
    assert (deployed.serving("cats"), record.version(2).state, record.version(2).schema_change) == (2, "serving", ())
    assert deployed.exporter.conversions == 2
    assert record.version(2).reason is None


def test_accepted_beforehand_it_is_not_held_at_all(deployed: Deployed) -> None:
    deployed.store.drop("cats.yaml", "accept_schema_change: true", event=False)
    deployed.drop("cats.keras", "two")
    assert deployed.serving("cats") == 2


def test_a_sleeping_models_clients_are_not_broken_either(deployed: Deployed) -> None:
    deployed.control.order("sleep", None)
    deployed.run(60)
    deployed.drop("cats.keras", "two")
    record = deployed.record("cats")
    assert (record.version(2).state, record.desired) == ("held", 1)
    deployed.request("cats")
    deployed.run(120)
    assert deployed.serving("cats") == 1


def test_a_version_held_back_is_not_gone_back_to_and_another_upload_takes_its_place(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "two")
    deployed.exporter.inputs = {}
    deployed.drop("cats.keras", "three")
    record = deployed.record("cats")
    assert (deployed.serving("cats"), record.version(2).state) == (3, "held")
    with pytest.raises(Exception, match="held back"):
        deployed.control.rollback("cats", 2)


def test_what_a_new_version_is_compared_with_is_what_clients_know(deployed: Deployed) -> None:
    assert known_to_clients(deployed.record("cats")) == 1
    deployed.drop("cats.keras", "two")
    assert known_to_clients(deployed.record("cats")) == 1
    deployed.control.remove("cats", uploads=True)
    left = deployed.state.find("cats")
    assert left is not None and known_to_clients(left) is None


def test_where_a_manifest_is_gone_or_cannot_be_read_nothing_is_compared(deployed: Deployed) -> None:
    deployed.drop("cats.keras", "two")
    assert breaking_change(deployed.servables, "cats", 1, 2)
    assert breaking_change(deployed.servables, "cats", 1, 7) == ()
    deployed.servables.store("cats/1/servable.json", json.dumps({"later": "format"}).encode())
    assert breaking_change(deployed.servables, "cats", 1, 2) == ()
