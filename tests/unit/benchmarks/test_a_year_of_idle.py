"""The year of minutes that ``make bench`` prints holds what is promised of it."""

from xml.etree import ElementTree

import pytest

from benchmarks.idle_chart import chart
from benchmarks.idle_year import PEERS, YEAR, Year, traffics

ALWAYS = YEAR / 60


@pytest.fixture(scope="module")
def years() -> dict[str, dict[str, Year]]:
    return {traffic.name: {name: peer(traffic) for name, peer in PEERS.items()} for traffic in traffics()}


def saved(year: Year) -> float:
    return ALWAYS - year.gpu_hours


def test_office_hours_save_nearly_what_the_clairvoyant_does_and_nobody_waits(years: dict[str, dict[str, Year]]) -> None:
    found = years["office hours"]
    assert saved(found["Slipway"]) >= 0.9 * saved(found["clairvoyant"])
    assert found["Slipway"].delayed <= 0.01


def test_without_hours_of_use_only_the_first_of_each_day_wait(years: dict[str, dict[str, Year]]) -> None:
    """And fewer than of those for whom a node goes ten minutes after its last pod."""
    found = years["office, no hours set"]
    assert saved(found["Slipway"]) >= 0.9 * saved(found["clairvoyant"])
    assert found["Slipway"].delayed <= 0.02
    for traffic in ("office, no hours set", "bursts", "rare"):
        assert years[traffic]["Slipway"].delayed <= years[traffic]["cluster autoscaler"].delayed


def test_every_shape_saves_nine_tenths_of_what_can_be_saved(years: dict[str, dict[str, Year]]) -> None:
    for found in years.values():
        assert saved(found["Slipway"]) >= 0.9 * saved(found["clairvoyant"])
        assert found["clairvoyant"].gpu_hours == min(year.gpu_hours for year in found.values())
        assert found["clairvoyant"].delayed == found["always on"].delayed == 0


def test_what_is_always_asked_for_never_goes(years: dict[str, dict[str, Year]]) -> None:
    assert years["constant"]["Slipway"] == Year(ALWAYS, 0.0)


def test_the_chart_has_a_bar_for_every_peer_of_every_shape(years: dict[str, dict[str, Year]]) -> None:
    drawn = ElementTree.fromstring(chart(years))  # noqa: S314  (our own text)
    bars = drawn.findall("{http://www.w3.org/2000/svg}rect")[1:]
    lengths = [float(bar.attrib["width"]) for bar in bars]
    hours = [year.gpu_hours for found in years.values() for year in found.values()]
    assert lengths == pytest.approx([max(1.0, each / ALWAYS * max(lengths)) for each in hours], abs=0.1)
