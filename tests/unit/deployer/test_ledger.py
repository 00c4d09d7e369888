"""The ledger: what ran when, who changed it and why, and what it cost; written by looking, so that nothing is lost or doubled."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.errors import BadRequest
from deployer.ledger import Line, stretches, sums
from tests.deployed import Deployed

HOUR = timedelta(hours=1)
START = datetime(2026, 7, 1, tzinfo=UTC)


def line(hours: float, nodes: int, *awake: str, price: float | None = 0.5, others: float | None = 0.2) -> Line:
    return Line(
        at=START + hours * HOUR, rung="awake" if nodes else "pool", by="timer", why="", gpu_nodes=nodes,
        gpu_size="Standard_NC4as_T4_v3", gpu_price=price, other_nodes=1, other_price=others, currency="USD", awake=awake,
    )  # fmt: skip


def test_hours_and_money_are_those_of_what_ran() -> None:
    found = sums([line(0, 2, "a"), line(4, 0), line(10, 2, "a", "b")], START, START + 12 * HOUR, gpu_nodes=2)
    assert (found.gpu_hours, found.gpu_hours_always) == (12, 24)
    assert found.money == pytest.approx(12 * 0.5 + 12 * 0.2)
    assert found.money_always == pytest.approx(24 * 0.5 + 12 * 0.2)
    assert found.saved == pytest.approx(6)
    assert found.by_model == {
        "a": {"gpu_hours": 10, "money": pytest.approx(5)}, "b": {"gpu_hours": 2, "money": pytest.approx(1)}
    }  # fmt: skip


def test_a_stretch_begins_with_what_ran_before_it() -> None:
    found = sums([line(-100, 1, "a"), line(5, 0)], START, START + 10 * HOUR, gpu_nodes=1)
    assert (found.gpu_hours, found.gpu_hours_always) == (5, 10)


def test_before_the_first_line_nothing_is_counted_for_either_side() -> None:
    found = sums([line(5, 1)], START, START + 10 * HOUR, gpu_nodes=1)
    assert (found.gpu_hours, found.gpu_hours_always, found.by_model) == (5, 5, {"": {"gpu_hours": 5, "money": 2.5}})


def test_without_a_price_there_are_hours_and_no_money() -> None:
    found = sums([line(0, 1, "a", price=None)], START, START + HOUR, gpu_nodes=1)
    assert (found.gpu_hours, found.money, found.saved) == (1, None, None)
    assert found.by_model["a"] == {"gpu_hours": 1, "money": None}


def test_models_share_the_nodes_by_the_gpus_that_they_ask_for() -> None:
    shared = line(0, 2, "a", "b").model_copy(update={"gpus": (1, 3)})
    found = sums([shared], START, START + 4 * HOUR, gpu_nodes=2)
    assert {name: share["gpu_hours"] for name, share in found.by_model.items()} == {"a": 2, "b": 6}


lines = st.lists(
    st.builds(
        line, st.integers(0, 100), st.integers(0, 3), st.sampled_from(["a", "b"]), price=st.sampled_from([0.5, 1.25])
    ),
    min_size=1, max_size=12,
).map(lambda found: sorted(found, key=lambda item: item.at))  # fmt: skip


@given(lines, st.integers(1, 99))
def test_a_stretch_costs_what_its_two_parts_cost(found: list[Line], cut: int) -> None:
    end, middle = START + 100 * HOUR, START + cut * HOUR
    whole = sums(found, START, end, gpu_nodes=3)
    parts = [sums(found, START, middle, gpu_nodes=3), sums(found, middle, end, gpu_nodes=3)]
    assert whole.gpu_hours == pytest.approx(sum(part.gpu_hours for part in parts))
    assert whole.money == pytest.approx(sum(part.money or 0 for part in parts))
    assert whole.money_always is not None and whole.money is not None and whole.money <= whole.money_always + 1e-9
    assert sum(share["gpu_hours"] or 0 for share in whole.by_model.values()) == pytest.approx(whole.gpu_hours)


@given(lines, st.integers(0, 99))
def test_what_each_change_cost_adds_up_to_the_whole(found: list[Line], first: int) -> None:
    begin, end = START + first * HOUR, START + 100 * HOUR
    whole = sums(found, begin, end, gpu_nodes=3)
    each = stretches(found, begin, end)
    assert len(each) == len(found)
    assert sum(part.gpu_hours for part in each) == pytest.approx(whole.gpu_hours)
    assert sum(part.money or 0 for part in each) == pytest.approx(whole.money)


@pytest.fixture
def deployed() -> Deployed:
    return Deployed().drop("cats.keras", "one")


def test_a_day_of_use_and_sleep_is_told_with_who_and_why(deployed: Deployed) -> None:
    for _ in range(40):
        deployed.run(299)
        deployed.tick()
    deployed.request("cats")
    deployed.run()
    deployed.tick()
    told = deployed.control.sums(None)
    assert [entry["rung"] for entry in told["lines"]] == ["awake", "pods", "pool", "stopped", "awake"]
    assert [entry["by"] for entry in told["lines"]][1:] == ["timer", "timer", "timer", "request"]
    assert told["lines"][1]["why"] == "no request for long enough"
    assert sum(entry["gpu_hours"] for entry in told["lines"]) == pytest.approx(told["gpu_hours"], abs=0.01)
    assert told["lines"][1]["gpu_nodes"] == 1 and told["lines"][2]["gpu_nodes"] == 0
    assert 0 < told["gpu_hours"] < told["gpu_hours_always_on"]
    assert 0 < told["money"] < told["money_always_on"]
    assert told["saved"] == pytest.approx(told["money_always_on"] - told["money"], abs=0.011)


def test_a_look_at_what_is_known_writes_nothing(deployed: Deployed) -> None:
    deployed.teardown.look()
    before = deployed.documents.blobs[f"ledger/{deployed.world.now:%Y-%m}.jsonl"].etag
    deployed.teardown.look()
    deployed.run(3600)
    deployed.teardown.look()
    assert deployed.documents.blobs[f"ledger/{deployed.world.now:%Y-%m}.jsonl"].etag == before


def test_a_month_begins_with_what_the_month_before_left(deployed: Deployed) -> None:
    deployed.teardown.look()
    deployed.world.pass_time(40 * 86400)
    told = deployed.control.sums(None)
    assert told["gpu_hours"] == pytest.approx(told["gpu_hours_always_on"])
    assert told["gpu_hours"] > 24 * 8


@pytest.mark.parametrize("month", ["2026", "2026-13", "next", "2026-07-01"])
def test_what_is_no_month_is_refused(deployed: Deployed, month: str) -> None:
    with pytest.raises(BadRequest, match="no month"):
        deployed.control.sums(month)


@given(st.lists(st.tuples(st.integers(-90 * 24, 90 * 24), st.booleans()), max_size=12))
def test_no_jump_of_the_clock_spoils_the_ledger(looks: list[tuple[int, bool]]) -> None:
    """Whatever the clock says at each look: lines are in order, and what is added up is between nothing and always on."""
    deployed = Deployed()
    began = deployed.world.now
    for hours, up in looks:
        deployed.world.now = began + hours * HOUR
        deployed.cluster._counts["gpu"] = int(up)
        deployed.teardown.look()
    written = [
        Line.model_validate_json(text)
        for name, blob in sorted(deployed.documents.blobs.items()) if name.startswith("ledger/")
        for text in blob.data.splitlines()
    ]  # fmt: skip
    assert [item.at for item in written] == sorted(item.at for item in written)
    assert all(before.differs(after) for before, after in itertools.pairwise(written))
    for month in {f"{item.at:%Y-%m}" for item in written}:
        found, _ = deployed.ledger.month(month)
        assert 0 <= found.gpu_hours <= found.gpu_hours_always + 1e-6 <= 31 * 24 + 1e-6
        assert sum(share["gpu_hours"] or 0 for share in found.by_model.values()) == pytest.approx(found.gpu_hours)


def test_a_crash_between_a_change_and_its_look_is_made_good_by_the_next(deployed: Deployed) -> None:
    """The pool was ordered down, and the process was killed before it wrote a line."""
    deployed.teardown.look()
    deployed.control.order("sleep", None)
    month = f"ledger/{deployed.world.now:%Y-%m}.jsonl"
    first, *_ = deployed.documents.blobs[month].data.splitlines(keepends=True)
    deployed.documents.blobs[month] = replace(deployed.documents.blobs[month], data=first)
    deployed.run(120)
    deployed.tick()
    told = deployed.control.sums(None)["lines"]
    assert (told[-1]["rung"], told[-1]["by"], told[-1]["why"]) == ("pool", "command", "a command")


def test_what_somebody_else_changed_is_not_told_as_ours(deployed: Deployed) -> None:
    deployed.control.order("sleep", None)
    deployed.run(120)
    deployed.teardown.look()
    deployed.run(2 * 3600)
    deployed.cluster._counts["gpu"] = 1
    deployed.teardown.look()
    last = deployed.control.sums(None)["lines"][-1]
    assert (last["rung"], last["by"], last["why"]) == ("pods", "unknown", "seen so")


def test_a_month_without_lines_is_what_the_last_line_left_and_one_before_all_is_empty(deployed: Deployed) -> None:
    deployed.teardown.look()
    deployed.world.pass_time(100 * 86400)
    between = deployed.control.sums(f"{deployed.world.now - timedelta(days=40):%Y-%m}")
    assert len(between["lines"]) == 1
    assert between["gpu_hours"] == between["gpu_hours_always_on"] > 24 * 27
    before = deployed.control.sums("2020-02")
    assert (before["lines"], before["gpu_hours"], before["by_model"]) == ([], 0, {})
    coming = deployed.control.sums("2999-01")
    assert coming["gpu_hours"] == 0
