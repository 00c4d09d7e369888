"""A year of minutes, decided by the real ``plan_idle``: GPU hours and delayed requests against other ways to run the same node.

Peers, on the same requests: a node that is always on; pods scaled to zero on a node that stays (as KEDA does it); the cluster
autoscaler, which removes a node ten minutes after its last pod; and the clairvoyant optimum, which knows every request, wakes
in time for each and sleeps through every gap that is worth it. A node is paid for from the beginning of its start until it has
gone. A delayed request is one that arrives before a pod answers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from rich.console import Console
from rich.table import Table

from deployer.economy import economy
from deployer.forecast import Situation
from deployer.idle import IdlePolicy, ModelUse, Stay
from deployer.ports import ClusterState
from deployer.record import ClusterRecord
from deployer.windows import NO_HOURS, Hours, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = 365 * 24 * 60  # minutes
NODE, POD, GONE = 7, 1, 2  # minutes: a GPU node from zero (5 to 11 on AKS), a pod on a warm node, a node's way out
TIMER = 5  # minutes between two looks of the ladder, as ``SLIPWAY_SCHEDULE__TEARDOWN`` has it
POLICY = IdlePolicy(
    enabled=True, pool_after=timedelta(minutes=5), stop_after=None, note=timedelta(seconds=30),
    wake_limit=timedelta(minutes=45), min_awake=timedelta(minutes=10),
)  # fmt: skip
AFTER = timedelta(minutes=30)
GUESSES = {"pods": POD * 60.0, "pool": (NODE + POD) * 60.0, "stopped": 600.0, "deleted": 1800.0}

Minutes = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Traffic:
    """Requests as minutes of the year, ascending; and the hours of use that its owner would set."""

    name: str
    minutes: Minutes
    hours: Hours = NO_HOURS


@dataclass(frozen=True)
class Year:
    """What a year cost: hours of a GPU node, and the share of requests that had to wait."""

    gpu_hours: float
    delayed: float


def traffics(seed: int = 7) -> list[Traffic]:
    """The four shapes; that of offices also without hours of use being set."""
    rng = np.random.default_rng(seed)
    minute = np.arange(YEAR)
    weekday = (minute // 1440 + START.weekday()) % 7 < 5
    of_day = minute % 1440
    office = weekday & (of_day >= 9 * 60) & (of_day < 18 * 60)
    bursts = np.zeros(YEAR, bool)
    for begin in rng.choice(YEAR - 60, 730, replace=False):  # two hours a day, on average
        bursts[begin : begin + 60] = True
    every = Hours((Window(cron="0 9 * * mon-fri", hours=9),))
    at_office = np.flatnonzero(office & (rng.random(YEAR) < 0.5))
    return [
        Traffic("office hours", at_office, every),
        Traffic("office, no hours set", at_office),
        Traffic("bursts", np.flatnonzero(bursts & (rng.random(YEAR) < 0.7))),
        Traffic("rare", np.sort(rng.choice(YEAR, 150, replace=False))),
        Traffic("constant", np.flatnonzero(rng.random(YEAR) < 0.9)),
    ]


def always_on(traffic: Traffic) -> Year:
    """The node never goes."""
    return Year(YEAR / 60, 0.0)


def pods_only(traffic: Traffic) -> Year:
    """Pods go five minutes after the last request; the node stays."""
    return Year(YEAR / 60, _delayed_after_gaps(traffic.minutes, longer_than=5, wake=POD))


def autoscaler(traffic: Traffic) -> Year:
    """Pods go five minutes after the last request, the node ten minutes later."""
    delayed = _delayed_after_gaps(traffic.minutes, longer_than=15, wake=NODE + POD)
    awake = _paid(traffic.minutes, tail=15)
    return Year(awake, delayed)


def clairvoyant(traffic: Traffic) -> Year:
    """Sleeps through each gap that is longer than going and coming take, and is back in time."""
    return Year(_paid(traffic.minutes, tail=0), 0.0)


def slipway(traffic: Traffic) -> Year:
    """The real decisions, at the real timer's looks."""
    asked = traffic.minutes
    figures = economy([], GUESSES, {}, "USD")
    use = ModelUse("m", START, AFTER, needs_gpu=True, asleep=False, settled=True, hours=traffic.hours)
    situation = Situation(
        (use,), ClusterState("Running", busy=False, pool_count=1, provisioning="Succeeded", pool_owned=True, owned=True),
        ClusterRecord(updated=START),
    )  # fmt: skip
    paid, delayed, now, on_since = 0.0, 0, 0, 0
    while now < YEAR:
        situation = situation.noted(_at(now))
        decision = situation.plan(POLICY, figures, _at(now))
        seen = int(np.searchsorted(asked, now, side="right"))  # requests up to now
        coming = int(asked[seen]) if seen < len(asked) else YEAR
        if isinstance(decision, Stay):
            due = YEAR if decision.due is None else _look(decision.due)
            due = max(due, now + TIMER)
            if coming > due or coming >= YEAR:
                now = due
                continue
            model = situation.uses[0]
            if not model.asleep:  # nothing can happen before the last request until then has become old
                last = int(asked[np.searchsorted(asked, due, side="right") - 1])
                situation = replace(situation, uses=(replace(model, used=_at(last)),))
                now = max(_look(_at(last)), now)
                continue
            cold = situation.cluster.pool_count == 0
            ready = coming + POD + (NODE if cold else 0)
            delayed += int(np.searchsorted(asked, ready) - seen)
            on_since = coming if cold else on_since
            situation = _woken(situation, coming, ready)
            now = _look(_at(ready))
            continue
        before = situation
        situation = situation.after(decision, _at(now), gpu_nodes=1)
        if before.cluster.pool_count and not situation.cluster.pool_count:
            paid += now + GONE - on_since
        elif situation.cluster.pool_count and not situation.uses[0].asleep:  # its hours begin
            cold = not before.cluster.pool_count
            ready = now + POD + (NODE if cold else 0)
            delayed += int(np.searchsorted(asked, ready) - seen)
            on_since = now if cold else on_since
            situation = _woken(situation, now, ready)
            now = _look(_at(ready))
            continue
        now += TIMER
    if situation.cluster.pool_count:
        paid += YEAR - on_since
    return Year(paid / 60, delayed / len(asked))


PEERS: dict[str, Callable[[Traffic], Year]] = {
    "always on": always_on, "pods to zero": pods_only, "cluster autoscaler": autoscaler, "Slipway": slipway,
    "clairvoyant": clairvoyant,
}  # fmt: skip


def main() -> dict[str, dict[str, Year]]:
    """Prints the year of every shape and peer, with a bar for the GPU hours."""
    console = Console(width=104)
    table = Table(title="One GPU node, one year of minutes", title_justify="left")
    for column in ("traffic", "", "GPU hours", "", "delayed", "saving"):
        table.add_column(column, justify="right" if column in ("GPU hours", "delayed", "saving") else "left")
    years: dict[str, dict[str, Year]] = {}
    begun = time.monotonic()
    for traffic in traffics():
        found = years[traffic.name] = {name: peer(traffic) for name, peer in PEERS.items()}
        possible = YEAR / 60 - found["clairvoyant"].gpu_hours
        for name, year in found.items():
            saving = (YEAR / 60 - year.gpu_hours) / possible if possible > 1 else float("nan")
            table.add_row(
                f"{traffic.name} ({len(traffic.minutes):,})" if name == "always on" else "", name, f"{year.gpu_hours:,.0f}",
                "█" * round(year.gpu_hours / (YEAR / 60) * 20), f"{year.delayed:.2%}",
                f"{saving:.0%}" if possible > 1 else "", style="bold" if name == "Slipway" else None,
                end_section=name == "clairvoyant",
            )  # fmt: skip
    console.print(table)
    console.print("saving: of what the clairvoyant saves over always on")
    console.print(f"{len(years)} years decided in {time.monotonic() - begun:.1f} s.")
    return years


def _woken(situation: Situation, at: int, ready: int) -> Situation:
    model = replace(situation.uses[0], asleep=False, changed=_at(at), used=_at(ready))
    return Situation(
        (model,), replace(situation.cluster, pool_count=1), situation.record.but(rung=None, slept=None, woke=_at(at))
    )


def _at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def _look(moment: datetime) -> int:
    """The minute of the timer's first look at or after this moment."""
    return int(-(-(moment - START).total_seconds() // (TIMER * 60)) * TIMER)


def _gaps(minutes: Minutes) -> Minutes:
    """Minutes between a request and the next; before the first and after the last as well."""
    return np.diff(np.concatenate(([-1], minutes, [YEAR])))


def _delayed_after_gaps(minutes: Minutes, *, longer_than: int, wake: int) -> float:
    """The share of requests that arrive during the wakes that follow every gap so long."""
    late, awake_from = 0, 0
    last = -1
    for minute in minutes.tolist():
        if minute - last > longer_than and minute >= awake_from:
            awake_from = minute + wake
        late += minute < awake_from
        last = minute
    return late / len(minutes)


def _paid(minutes: Minutes, *, tail: int) -> float:
    """Node hours where every gap longer than the tail, and than going and coming, is slept through."""
    gaps = _gaps(minutes)
    slept = gaps[gaps > tail + NODE + POD + GONE] - (tail + NODE + POD + GONE)
    return float(YEAR - slept.sum()) / 60


if __name__ == "__main__":
    main()
