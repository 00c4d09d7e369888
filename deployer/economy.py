"""What each rung of the idle ladder saves, and how long it takes to come back from it. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from deployer.ports import ClusterState
from deployer.prices import Prices
from deployer.record import WakeTime

_ENOUGH = 3  # wakes seen before their ninth decile is believed
_LEAST = timedelta(minutes=1)
_MOST = timedelta(hours=1)
RUNGS = ("pods", "pool", "stopped", "deleted")


@dataclass(frozen=True)
class RungFigures:
    """One rung: money saved per hour in it (None: a price is not known), and the wake's median and ninth decile."""

    rung: str
    saves_per_hour: float | None
    wake_p50: timedelta
    wake_p90: timedelta
    wakes_seen: int


@dataclass(frozen=True)
class Economy:
    """The figures of all rungs."""

    rungs: Mapping[str, RungFigures]
    currency: str

    def figures(self, rung: str) -> RungFigures:
        """Those of one rung."""
        return self.rungs[rung]

    def break_even(self, rung: str) -> timedelta:
        """How long idle a rung must promise to be to pay: nodes cost while they start and answer nobody.

        Waiting just so long before going down never costs more than twice what the best of all waits would (the ski rental
        problem's bound), whatever the requests do.
        """
        return min(max(self.figures(rung).wake_p50, _LEAST), _MOST)


@dataclass(frozen=True)
class Costs:
    """What is known beforehand: prices, nodes of the GPU pool when awake, and first guesses at wakes, in seconds."""

    prices: Prices
    gpu_nodes: int
    guesses: Mapping[str, float]

    def economy(self, cluster: ClusterState, wake_times: Sequence[WakeTime]) -> Economy:
        """The figures of all rungs for this cluster."""
        pool = self.gpus_per_hour(cluster.pool_size, self.gpu_nodes)
        others = self.nodes_per_hour(cluster.others)
        whole = None if pool is None or others is None else pool + others
        saves = {"pods": 0.0, "pool": pool, "stopped": whole, "deleted": whole}
        return economy(wake_times, self.guesses, saves, self.prices.currency)

    def gpus_per_hour(self, size: str, nodes: int) -> float | None:
        """The price of so many nodes of this size for an hour, if known."""
        price = self.prices.of(size)
        return None if price is None else price * nodes

    def nodes_per_hour(self, nodes: Mapping[str, int]) -> float | None:
        """The price of these nodes (VM size → count) for an hour, if all are known."""
        each = [self.gpus_per_hour(size, count) for size, count in nodes.items()]
        return None if None in each else sum(price for price in each if price is not None)


def economy(
    wake_times: Sequence[WakeTime], guesses: Mapping[str, float], saves: Mapping[str, float | None], currency: str
) -> Economy:
    """The figures from the wakes seen, or the first guesses where fewer than three were.

    Args:
        wake_times: of this cluster.
        guesses: seconds for each rung.
        saves: money per hour for each rung.
        currency: of the money.
    """
    found = {}
    for rung in RUNGS:
        seen = sorted(item.seconds for item in wake_times if item.rung == rung)
        guess = guesses[rung]
        enough = len(seen) >= _ENOUGH
        found[rung] = RungFigures(
            rung, saves.get(rung), timedelta(seconds=_quantile(seen, 0.5) if seen else guess),
            timedelta(seconds=_quantile(seen, 0.9) if enough else max([guess, *seen])), len(seen),
        )  # fmt: skip
    return Economy(found, currency)


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that this share of all do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
