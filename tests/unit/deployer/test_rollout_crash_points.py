"""Canary, rollback, retention, held schemas and fallback pools: a kill, an error or a timeout changes nothing of how it ends."""

from collections.abc import Iterable

import pytest

from deployer.errors import SlipwayError
from deployer.figures import Tally
from deployer.ports import BlobRef
from deployer.record import ModelRecord
from exporter.manifest import TensorSpec
from tests.deployed import Deployed
from tests.unit.deployer.crashing import Fault, Flow, counted, disturbed, ends_as_if_nothing_had_happened

CANARY = "rollout: canary\ncanary: {share: 20, minutes: 2}\n"


def one_serves(deployed: Deployed) -> None:
    """The first version serves."""
    deployed.drop("cats.keras", "one", seconds=120)


def one_serves_with_canary(deployed: Deployed) -> None:
    """The first version serves, and the next is to be tried beside it."""
    deployed.store.drop("cats.yaml", CANARY)
    one_serves(deployed)


def two_serve(deployed: Deployed) -> None:
    """The second version serves, the first is kept."""
    one_serves(deployed)
    deployed.drop("cats.keras", "two", seconds=120)


def three_of_two(deployed: Deployed) -> None:
    """Two are kept, there were two, and a third comes."""
    deployed.store.drop("cats.yaml", "keep_versions: 1")
    two_serve(deployed)


def on_trial(deployed: Deployed) -> None:
    """The second version is on trial."""
    deployed.store.drop("cats.yaml", CANARY.replace("minutes: 2", "minutes: 5"))
    one_serves(deployed)
    deployed.drop("cats.keras", "two", seconds=60)
    route = deployed.record("cats").route
    assert route is not None and route.canary is not None


def held_back(deployed: Deployed) -> None:
    """The second version is held back, for it takes another input."""
    one_serves(deployed)
    deployed.exporter.inputs = {"picture": TensorSpec(dtype="string", shape=[None])}
    deployed.drop("cats.keras", "two", seconds=120)
    assert deployed.serving("cats") == 1


def without_quota(deployed: Deployed) -> None:
    """The GPU pool is empty and gets no nodes; another may."""
    deployed.cluster.begin_pool(0)
    deployed.run(60)
    deployed.cluster.pools = ("gpu", "spare")
    deployed.cluster.without_quota = {"gpu"}
    deployed.restart()


def failing_trial(deployed: Deployed) -> None:
    """A second version comes, whose requests fail while it is on trial."""
    listing = deployed.documents.listing

    def noted_meanwhile(prefix: str) -> Iterable[BlobRef]:
        route = ModelRecord.model_validate_json(deployed.documents.blobs["models/cats.json"].data).route
        if prefix == "figures/cats/" and route is not None and route.canary is not None:
            tally = Tally(minutes={int(deployed.world.now.timestamp() // 60): (40, 9)})
            deployed.documents.store("figures/cats/2/instance", tally.model_dump_json().encode())
        return listing(prefix)

    deployed.documents.listing = noted_meanwhile  # type: ignore[method-assign]  # the proxy's instances, as seen from here
    deployed.store.drop("cats.keras", "two")


def rolled_back(deployed: Deployed, to: int = 1) -> None:
    """Somebody commands the version before back."""
    deployed.control.rollback("cats", to)


def changed_schema(deployed: Deployed) -> None:
    """A second version comes that takes another input."""
    deployed.exporter.inputs = {"picture": TensorSpec(dtype="string", shape=[None])}
    deployed.store.drop("cats.keras", "two")


FLOWS = [
    Flow("canary", lambda deployed: deployed.store.drop("cats.keras", "two"), one_serves_with_canary, gpus=2, steady=True),
    Flow("canary fails", failing_trial, one_serves_with_canary, gpus=2, steady=True),
    Flow("canary superseded", lambda deployed: deployed.store.drop("cats.keras", "three"), on_trial, gpus=3, steady=True),
    Flow("canary recalled", rolled_back, on_trial, gpus=2, steady=True),
    Flow("rollback", rolled_back, two_serve),
    Flow("rollback beside", rolled_back, two_serve, gpus=2, steady=True),
    Flow("retention", lambda deployed: deployed.store.drop("cats.keras", "three"), three_of_two, gpus=2, steady=True),
    Flow("held back", changed_schema, one_serves, steady=True),
    Flow("accepted", lambda deployed: deployed.store.drop("cats.yaml", "accept_schema_change: true"), held_back),
    Flow("fallback pool", lambda deployed: deployed.store.drop("cats.keras", "one"), without_quota),
]  # fmt: skip
UNDISTURBED = {flow: disturbed(flow) for flow in FLOWS}
NAMED = {flow.name: deployed for flow, deployed in UNDISTURBED.items()}
ENDS = {
    "canary": 2, "canary fails": 1, "canary superseded": 3, "canary recalled": 1, "rollback": 1, "rollback beside": 1,
    "retention": 3, "held back": 1, "accepted": 2, "fallback pool": 1,
}  # fmt: skip


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_it_ends_as_if_nothing_had_happened(flow: Flow, fault: Fault) -> None:
    ends_as_if_nothing_had_happened(flow, fault, UNDISTURBED[flow])


def test_the_undisturbed_flows_end_where_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    """Else equality with them would mean nothing."""
    assert {name: deployed.serving("cats") for name, deployed in NAMED.items()} == ENDS
    for deployed in UNDISTURBED.values():
        record = deployed.record("cats")
        assert record.settled and not deployed.poison
        assert record.route is not None and record.route.canary is None
    assert counted(UNDISTURBED, capsys)[Fault.KILL] > 100


def test_what_is_not_kept_goes_and_what_may_be_needed_stays() -> None:
    deployed = NAMED["retention"]
    record = deployed.record("cats")
    assert [(item.version, item.state) for item in record.versions] == [(1, "deleted"), (2, "retired"), (3, "serving")]
    assert {name.split("/")[1] for name in deployed.servables.blobs} == {"2", "3"}
    with pytest.raises(SlipwayError, match="its servable was deleted"):
        deployed.control.rollback("cats", 1)


def test_the_fallback_pool_came_up() -> None:
    deployed = NAMED["fallback pool"]
    assert deployed.cluster.counts() == {"spare": 1}
    assert deployed.state.cluster().refused == ()
