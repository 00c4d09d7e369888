"""A version on trial: what the plan does with it, and what the proxy's figures must show."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.canary import Failed, Figures, Passed, Undecided, judge
from deployer.figures import FigureNotes, Tally, figures_of, forget_figures
from deployer.options import CanaryOptions
from deployer.plan import plan
from deployer.record import Canary, ModelRecord, Route
from deployer.steps import Apply, AwaitCanary, AwaitPods, EndTrial, Prove, Retire, RollBack, RolloutView, Switch, Try
from tests.fakes import FakeDocuments, World
from tests.unit.deployer.test_rollout_plan import NOON, POLICY, ROOM, UP, record, rollout, seen, serve, work

OPTIONS = CanaryOptions(share=20, minutes=10, max_error_rate=0.05)
SERVE = serve("canary", canary=OPTIONS)
TRIED = Route(version=1, address="http://v1", canary=Canary(version=2, address="http://v2", share=20))
SPAN, LAG = timedelta(minutes=10), timedelta(seconds=20)


def trying(ago: float, **more: Any) -> ModelRecord:
    """Version 2 on trial beside version 1 for so many seconds."""
    status = rollout(2, "AwaitCanary", ago=ago, proven=True, trial=NOON - timedelta(seconds=ago))
    return record(2, serve=SERVE, rollout=status).but(route=TRIED, **more)


def beside(trial: Figures | None = None, stable: Figures | None = None) -> RolloutView:
    figures = {number: each for number, each in ((1, stable), (2, trial)) if each is not None}
    return replace(seen(work(1), work(2), selected=1), figures=figures)


def test_a_canary_starts_beside_what_serves_even_without_a_known_free_gpu() -> None:
    """Never is the one that serves scaled down for it; without room its pods wait, and it is given up in the end."""
    assert plan(record(2, 1, serve=SERVE), UP, seen(work(1)), POLICY, NOON) == Apply(2, 1)


def test_a_proven_canary_gets_its_share() -> None:
    proven = record(2, 1, serve=SERVE, rollout=rollout(2, "Prove", proven=True))
    assert plan(proven, ROOM, seen(work(1), work(2)), POLICY, NOON) == Try(2, "http://v2", 20)
    unproven = record(2, 1, serve=SERVE, rollout=rollout(2, "Prove"))
    assert plan(unproven, ROOM, seen(work(1), work(2)), POLICY, NOON) == Prove(2, "http://v2")


def test_a_first_version_and_one_that_is_gone_back_to_are_not_tried() -> None:
    proven = rollout(2, "Prove", proven=True)
    assert isinstance(plan(record(2, serve=SERVE, rollout=proven), ROOM, seen(work(2)), POLICY, NOON), Switch)
    back = record(2, 1, serve=SERVE, rollout=proven.but(back=True))
    assert plan(back, ROOM, seen(work(1), work(2)), POLICY, NOON) == Switch(2, "http://v2")


@pytest.mark.parametrize(
    ("ago", "trial", "stable", "wanted"),
    [
        (5, None, None, AwaitCanary), (599, Figures(100, 0), None, AwaitCanary), (619, Figures(100, 0), None, AwaitCanary),
        (620, Figures(100, 0), Figures(400, 0), Switch), (620, None, None, Switch),
        (5, Figures(4, 3), Figures(400, 0), RollBack),  # certain before its time
        (5, Figures(4, 2), Figures(400, 0), AwaitCanary),  # not yet
        (620, Figures(4, 2), Figures(400, 0), RollBack),
        (620, Figures(100, 5), None, Switch),  # what is borne
        (620, Figures(100, 50), Figures(400, 200), Switch),  # what befalls both is not its fault
    ],
)  # fmt: skip
def test_the_figures_decide(ago: float, trial: Figures | None, stable: Figures | None, wanted: type) -> None:
    step = plan(trying(ago), ROOM, beside(trial, stable), POLICY, NOON)
    assert isinstance(step, wanted)
    if isinstance(step, RollBack):
        assert trial is not None
        assert (step.version, step.to, step.blame) == (2, 1, True)
        assert f"{trial.errors} of {trial.requests} requests failed" in step.reason


def test_a_canary_that_fails_while_its_pods_restart_is_given_up_at_once() -> None:
    view = replace(beside(Figures(10, 9)), workloads=seen(work(1), work(2, complete=False)).workloads)
    assert isinstance(plan(trying(60), ROOM, view, POLICY, NOON), RollBack)
    calm = replace(view, figures={})
    assert plan(trying(60), ROOM, calm, POLICY, NOON) == AwaitPods("v2 is starting")


def test_a_newer_version_ends_the_trial_before_the_objects_go() -> None:
    """First no more requests, then time for those under way, then the objects."""
    superseded = trying(60, desired=3)
    assert plan(superseded, ROOM, beside(), POLICY, NOON) == EndTrial(2)
    ended = superseded.but(route=Route(version=1, address="http://v1"), served=NOON - timedelta(seconds=5))
    assert plan(ended, ROOM, beside(), POLICY, NOON) == Retire((2,), NOON + timedelta(seconds=10))
    assert isinstance(plan(trying(60, desired=1), ROOM, beside(), POLICY, NOON), EndTrial)


@given(
    st.builds(Figures, st.integers(0, 1000), st.integers(0, 50)), st.builds(Figures, st.integers(0, 1000), st.integers(0, 50)),
    st.integers(0, 2000),
)  # fmt: skip
def test_a_verdict_comes_in_time_and_never_blames_the_faultless(trial: Figures, stable: Figures, elapsed: int) -> None:
    verdict = judge(trial, stable, OPTIONS, elapsed=timedelta(seconds=elapsed), lag=LAG)
    if trial.rate <= OPTIONS.max_error_rate or trial.rate <= stable.rate:
        assert not isinstance(verdict, Failed)
    if timedelta(seconds=elapsed) >= SPAN + LAG:
        assert not isinstance(verdict, Undecided)
    else:
        assert not isinstance(verdict, Passed)


async def test_an_instance_notes_its_figures_at_most_once_per_window() -> None:
    world = World()
    documents = FakeDocuments(world)
    notes = FigureNotes(documents, 0.05, world.clock, asyncio.get_running_loop().time)
    for number in range(200):
        notes.note("cats", TRIED, 2, error=number % 10 == 0)
        notes.note("cats", TRIED, 1, error=False)

    await asyncio.wait_for(notes.written(), 30)
    assert figures_of(documents, "cats", world.now) == {1: Figures(200, 0), 2: Figures(200, 20)}
    assert len([effect for effect in world.changes() if effect.name.startswith("documents.")]) <= 4


async def test_nothing_is_noted_while_no_version_is_on_trial() -> None:
    world = World()
    notes = FigureNotes(FakeDocuments(world), 0, world.clock, asyncio.get_running_loop().time)
    notes.note("cats", Route(version=1, address="http://v1"), 1, error=True)
    notes.note("cats", None, 1, error=True)
    await asyncio.sleep(0)
    assert world.changes() == []


def test_a_trial_reads_what_is_of_its_time_from_all_instances() -> None:
    world = World()
    documents = FakeDocuments(world)
    minute = int(world.now.timestamp() // 60)
    for instance, counts in {"a": (10, 1), "b": (20, 0)}.items():
        tally = Tally(minutes={minute - 1: (1000, 1000), minute: counts})
        documents.store(f"figures/cats/2/{instance}", tally.model_dump_json().encode())
    documents.store("figures/cats/2/torn", b"{")
    documents.store("figures/cats-and-dogs/2/a", Tally(minutes={minute: (7, 7)}).model_dump_json().encode())
    assert figures_of(documents, "cats", world.now) == {2: Figures(30, 1)}
    forget_figures(documents, "cats")
    assert list(documents.blobs) == ["figures/cats-and-dogs/2/a"]
