"""Keep-awake windows: cron times on the wall of a zone, true hours long, and none on days off."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from deployer.windows import NO_HOURS, Hours, Window, longest_pause

BERLIN = Window(cron="0 8 * * mon-fri", hours=10, zone="Europe/Berlin")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]  # year, month, day, hour, minute


@pytest.mark.parametrize(
    ("now", "kept_until", "opens"),
    [
        (utc(2026, 7, 1, 5, 59), None, utc(2026, 7, 1, 6)),  # a Wednesday in summer: two hours before UTC
        (utc(2026, 7, 1, 6), utc(2026, 7, 1, 16), utc(2026, 7, 2, 6)),
        (utc(2026, 7, 1, 15, 59), utc(2026, 7, 1, 16), utc(2026, 7, 2, 6)),
        (utc(2026, 7, 1, 16), None, utc(2026, 7, 2, 6)),
        (utc(2026, 1, 7, 6, 30), None, utc(2026, 1, 7, 7)),  # in winter one hour
        (utc(2026, 7, 4, 12), None, utc(2026, 7, 6, 6)),  # Saturday
    ],
)
def test_a_window_opens_by_the_clock_on_the_wall(now: datetime, kept_until: datetime | None, opens: datetime) -> None:
    hours = Hours((BERLIN,))
    assert (hours.kept_until(now), hours.opens(now)) == (kept_until, opens)


def test_on_days_off_no_window_begins() -> None:
    hours = Hours((BERLIN,), frozenset({date(2026, 7, 1), date(2026, 7, 2)}))
    assert hours.kept_until(utc(2026, 7, 1, 12)) is None
    assert hours.opens(utc(2026, 7, 1, 0)) == utc(2026, 7, 3, 6)


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    night = Window(cron="0 22 * * *", hours=8)
    hours = Hours((night,), frozenset({date(2026, 7, 2)}))
    assert hours.kept_until(utc(2026, 7, 2, 3)) == utc(2026, 7, 2, 6)
    assert hours.kept_until(utc(2026, 7, 3, 3)) is None


def test_overlapping_windows_last_to_the_latest_end() -> None:
    hours = Hours((Window(cron="0 8 * * *", hours=2), Window(cron="0 9 * * *", hours=5)))
    assert hours.kept_until(utc(2026, 7, 1, 9, 30)) == utc(2026, 7, 1, 14)
    assert hours.opened(utc(2026, 7, 1, 9, 30)) == utc(2026, 7, 1, 9)


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
def test_a_window_across_a_change_of_the_clocks_has_its_true_hours(day: date) -> None:
    hours = Hours((Window(cron="0 0 * * *", hours=6, zone="Europe/Berlin"),))
    opened = hours.opens(datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=6))
    assert opened is not None
    assert hours.kept_until(opened) == opened + timedelta(hours=6)
    assert hours.kept_until(opened + timedelta(hours=6)) is None


def test_without_windows_nothing_is_kept() -> None:
    assert (NO_HOURS.kept_until(utc(2026, 7, 1)), NO_HOURS.opens(utc(2026, 7, 1))) == (None, None)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"cron": "0 8 * *", "hours": 1}, "five fields"),
        ({"cron": "61 8 * * *", "hours": 1}, "five fields"),
        ({"cron": "0 8 * * *", "hours": 1, "zone": "Europe/Atlantis"}, "IANA"),
        ({"cron": "0 8 * * *", "hours": 1, "zone": "../etc"}, "IANA"),
        ({"cron": "0 8 * * *", "hours": 0}, "greater than 0"),
        ({"cron": "0 8 * * *", "hours": 169}, "168"),
    ],
)
def test_a_window_that_cannot_be_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Window.model_validate(wrong)


@pytest.mark.parametrize(
    ("schedule", "pause"),
    [
        ("0 */5 * * * *", timedelta(minutes=5)),
        ("*/2 * * * * *", timedelta(seconds=2)),
        ("0 0 8-18 * * mon-fri", timedelta(hours=62)),  # over the weekend
        ("00:05:00", None),
        ("%SCHEDULE%", None),
        ("99 * * * * *", None),
    ],
)
def test_how_long_a_timer_pauses_follows_from_its_schedule(schedule: str, pause: timedelta | None) -> None:
    assert longest_pause(schedule, utc(2026, 7, 1, 12)) == pause
