"""Sleep and wake of every rung, and the bridge: a kill, an error or a timeout changes nothing of how it ends."""

import pytest

from tests.deployed import Deployed
from tests.unit.deployer.crashing import Fault, Flow, counted, disturbed, ends_as_if_nothing_had_happened


def one_serves(deployed: Deployed) -> None:
    """The first version serves."""
    deployed.drop("cats.keras", "one", seconds=120)


def two_served(deployed: Deployed) -> None:
    """The second version served and sleeps, the first is kept."""
    one_serves(deployed)
    deployed.drop("cats.keras", "two", seconds=120)
    slept(deployed)


def slept(deployed: Deployed) -> None:
    """All sleep by command, and the timer has looked."""
    deployed.control.order("sleep", None)
    deployed.run(120).tick()
    deployed.run(60).tick()


def asleep(deployed: Deployed) -> None:
    """The model served, and sleeps."""
    one_serves(deployed)
    slept(deployed)


def stopped(deployed: Deployed) -> None:
    """The model sleeps in a cluster that is stopped."""
    one_serves(deployed)
    while deployed.cluster.state().power != "Stopped":
        deployed.run(299).tick()
    deployed.tick()


def idle(deployed: Deployed) -> None:
    """Nobody has asked for long enough, and the timer has just not fired."""
    one_serves(deployed)
    for _ in range(6):
        deployed.run(299).tick()
    deployed.run(60)


def removed_and_dropped_again(deployed: Deployed) -> None:
    """The model is removed while its cluster is stopped, and another content comes before that could end."""
    deployed.control.remove("cats", uploads=True)
    deployed.store.drop("cats.keras", "two")


def wake(deployed: Deployed) -> None:
    """A request comes."""
    deployed.request("cats")


FLOWS = [
    Flow("bridged sleep", lambda deployed: deployed.control.order("sleep", None), one_serves, bridged=True),
    Flow("bridged wake", wake, asleep, bridged=True),
    Flow("bridged upload", lambda deployed: deployed.store.drop("cats.keras", "two"), asleep, bridged=True),
    Flow("idle", lambda deployed: deployed.run(100).tick(), idle),
    Flow("woken from a stop", wake, stopped),
    Flow("rollback asleep", lambda deployed: deployed.control.rollback("cats", 1), two_served),
    Flow("removed in a stop", removed_and_dropped_again, stopped),
]  # fmt: skip
UNDISTURBED = {flow: disturbed(flow) for flow in FLOWS}
ENDS = {
    "bridged sleep": None, "bridged wake": 1, "bridged upload": 2, "idle": None, "woken from a stop": 1,
    "rollback asleep": None, "removed in a stop": 2,
}  # fmt: skip


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
def test_it_ends_as_if_nothing_had_happened(flow: Flow, fault: Fault) -> None:
    ends_as_if_nothing_had_happened(flow, fault, UNDISTURBED[flow])


def test_the_undisturbed_flows_end_where_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    """Else equality with them would mean nothing."""
    assert {flow.name: deployed.serving("cats") for flow, deployed in UNDISTURBED.items()} == ENDS
    ended = {flow.name: deployed.record("cats") for flow, deployed in UNDISTURBED.items()}
    assert all(record.settled for record in ended.values())
    bridge = ended["bridged sleep"].bridge
    assert bridge is not None and bridge.address is not None
    assert ended["bridged wake"].bridge is ended["bridged upload"].bridge is None
    assert (ended["rollback asleep"].asleep, ended["rollback asleep"].desired) == (True, 1)
    assert counted(UNDISTURBED, capsys)[Fault.KILL] > 100
