"""A request or an upload at any moment of a teardown: it is decided for them, and no node is left up or asked for twice."""

import copy
import random
from collections import Counter
from collections.abc import Callable

import pytest

from deployer.errors import CloudRefused
from tests.deployed import Deployed
from tests.fakes import Effect

Arrival = Callable[[Deployed], object]


class Races:
    """A deployed model whose ladder is disturbed at chosen calls; ``doubled`` counts operations begun while one runs."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.doubled = 0
        self.answered = False  # whether what arrived was answered at once, by pods that were still there
        begin = self.deployed.cluster._begin

        def counted(*given: object) -> str:
            try:
                return begin(*given)  # type: ignore[arg-type]  # passed through
            except CloudRefused:
                self.doubled += 1
                raise

        self.deployed.cluster._begin = counted  # type: ignore[method-assign,assignment]  # watched, not changed

    def arriving_at(self, call: int, arrival: Arrival) -> None:
        """Lets something arrive right after the call of this number from now on."""
        seen = [0]

        def watch(effect: Effect) -> None:
            seen[0] += 1
            if seen[0] == call:
                self.arrive(arrival)

        self.deployed.world.watch = watch

    def arrive(self, arrival: Arrival) -> None:
        """It arrives now."""
        self.deployed.world.watch = lambda effect: None
        self.answered = arrival is ask and self.deployed.serving("cats") is not None
        arrival(self.deployed)

    def down(self, rungs: int) -> None:
        """Nobody asks, and the timer fires so often, every five minutes."""
        for _ in range(rungs):
            self.deployed.run(299)
            self.deployed.tick()

    def settled(self) -> None:
        """What arrived has been answered: the model serves, by the version that it should."""
        self.deployed.world.watch = lambda effect: None
        self.deployed.run(400)
        self.deployed.sweep.run()
        self.deployed.run(400)
        if self.answered and self.deployed.record("cats").asleep:
            return
        record = self.deployed.record("cats")
        assert record.settled and not record.asleep
        assert self.deployed.serving("cats") == record.desired
        assert self.deployed.cluster.state().pool_count == 1


def served() -> Deployed:
    return Deployed().drop("cats.keras", "one")


def ask(deployed: Deployed) -> None:
    deployed.request("cats")


def upload(number: int) -> Arrival:
    return lambda deployed: deployed.store.drop("cats.keras", f"content {number}")


def both(number: int) -> Arrival:
    def arrive(deployed: Deployed) -> None:
        upload(number)(deployed)
        ask(deployed)

    return arrive


def test_two_hundred_races_of_teardown_request_and_upload() -> None:
    """At any call of any rung's teardown, in histories of 25; each race ends served, and each history goes idle again."""
    chosen = random.Random(7)  # noqa: S311  (no secret: which races are run)
    rungs = Counter[str]()
    for _ in range(8):
        races = Races(served())
        for number in range(25):
            arrival = chosen.choice([ask, upload(number), both(number)])
            rounds = chosen.randint(3, 20)
            races.down(rounds - 1)
            races.deployed.run(299)
            races.arriving_at(chosen.randint(1, 25), arrival)
            races.deployed.tick()
            if races.deployed.world.watch.__name__ == "watch":  # the teardown had fewer calls: it arrives right after
                races.arrive(arrival)
            cluster = races.deployed.cluster.state()
            rungs["stopped" if cluster.power == "Stopped" else "pool" if cluster.pool_count == 0 else "pods"] += 1
            races.settled()
        assert races.doubled == 0
        races.down(40)
        assert races.deployed.cluster.state().power == "Stopped"
        assert not races.deployed.poison
    assert min(rungs[rung] for rung in ("pods", "pool", "stopped")) > 10, rungs


@pytest.mark.parametrize("arrival", [ask, upload(1), both(2)], ids=["request", "upload", "both"])
@pytest.mark.parametrize("rounds", [7, 9, 22])
def test_every_moment_of_a_teardown_is_raced(arrival: Arrival, rounds: int) -> None:
    """The rounds after which the next look takes the pods, the pool, and the whole cluster."""
    call, begun = 1, Races(served())
    begun.down(rounds - 1)
    begun.deployed.run(299)
    del begun.deployed.cluster._begin  # the counter is each copy's own
    while True:
        races = Races(copy.deepcopy(begun.deployed))
        races.arriving_at(call, arrival)
        races.deployed.tick()
        if races.deployed.world.watch.__name__ == "watch":
            break
        races.settled()
        assert races.doubled == 0
        call += 1
    assert call > 5


@pytest.mark.parametrize("models", [("cats",), ("cats", "dogs")], ids=["one model twice", "two models"])
def test_nodes_are_ordered_once_however_looks_at_rollouts_fall_together(models: tuple[str, ...]) -> None:
    """Another instance's look falls between any two calls of this one's: by a second message, or of another model."""
    begun = Deployed(gpus=2, pool_count=2)
    for model in models:
        begun.drop(f"{model}.keras", model)
    Races(begun).down(10)
    assert begun.cluster.state().pool_count == 0 and begun.cluster.state().power == "Running"
    for model in models:
        begun.request(model)
    del begun.cluster._begin  # the counter is each copy's own
    call = 1
    while True:
        races = Races(copy.deepcopy(begun))
        orders = orders_of(races.deployed)
        races.arriving_at(call, lambda deployed: deployed.rollouts.advance(models[-1]))
        races.deployed.rollouts.advance(models[0])
        if races.deployed.world.watch.__name__ == "watch":
            break
        races.deployed.run(1000)
        assert [races.deployed.serving(model) for model in models] == [1] * len(models)
        assert races.doubled == 0
        assert orders_of(races.deployed)[len(orders) :] == ["2"]
        call += 1
    assert call > 5


def orders_of(deployed: Deployed) -> list[str]:
    return [effect.subject for effect in deployed.world.changes() if effect.name == "cluster.begin_pool"]
