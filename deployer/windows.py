"""Keep-awake windows: hours in which nothing goes to sleep, as cron times in a time zone. Pure.

A window begins whenever its cron expression fires by the clock on the wall of its zone, and lasts so many hours of true
time; so a window of nine hours that meets the change to summer time is still nine hours long. On days off none begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter
from pydantic import BaseModel, ConfigDict, Field, model_validator

_FIELDS = 5  # minute, hour, day of the month, month, day of the week
_FIRINGS = 100  # of a timer, looked at for its longest pause
_TRIES = 1000  # beginnings looked at for one that is on no day off


class Window(BaseModel):
    """Hours in which models stay awake."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str = Field(description="when it begins: minute, hour, day, month, weekday, as `0 8 * * mon-fri`")
    hours: float = Field(gt=0, le=168, description="how long it lasts")
    zone: str = Field("UTC", description="IANA time zone, as `Europe/Berlin`")

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if len(self.cron.split()) != _FIELDS or not croniter.is_valid(self.cron):
            raise ValueError(f"cron '{self.cron}' is not five fields of cron, as '0 8 * * mon-fri'")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"zone '{self.zone}' is no IANA time zone, as 'Europe/Berlin'") from error
        return self

    @property
    def lasts(self) -> timedelta:
        """How long it lasts."""
        return timedelta(hours=self.hours)


@dataclass(frozen=True)
class Hours:
    """The hours of use of one model: its windows, but for days off (by the calendar of each window's zone)."""

    windows: tuple[Window, ...] = ()
    days_off: frozenset[date] = frozenset()

    def opened(self, now: datetime) -> datetime | None:
        """When the newest of the windows that are open now began, UTC; None where none is open."""
        return max((start for window in self.windows for start in self._begun(window, now)), default=None)

    def kept_until(self, now: datetime) -> datetime | None:
        """The end of the windows that are open now, UTC; None where none is."""
        ends = [start + window.lasts for window in self.windows for start in self._begun(window, now)]
        return max(ends, default=None)

    def opens(self, now: datetime) -> datetime | None:
        """When the next window begins after now, UTC; None without windows, or where only days off come."""
        starts = [start for window in self.windows if (start := self._next(window, now)) is not None]
        return min(starts, default=None)

    def _begun(self, window: Window, now: datetime) -> Iterator[datetime]:
        """When this window began, newest first, as often as it is open now."""
        zone = ZoneInfo(window.zone)
        past = croniter(window.cron, _wall(now, zone) + timedelta(minutes=1), ret_type=datetime)
        while True:
            wall: datetime = past.get_prev()
            start = wall.replace(tzinfo=zone).astimezone(UTC)
            if start + window.lasts <= now:
                return
            if start <= now and wall.date() not in self.days_off:
                yield start

    def _next(self, window: Window, now: datetime) -> datetime | None:
        zone = ZoneInfo(window.zone)
        coming = croniter(
            window.cron, _wall(now, zone) - timedelta(hours=2), ret_type=datetime
        )  # an hour may come twice
        for _ in range(_TRIES):
            wall: datetime = coming.get_next()
            start = wall.replace(tzinfo=zone).astimezone(UTC)
            if start > now and wall.date() not in self.days_off:
                return start
        return None


NO_HOURS = Hours()


def longest_pause(schedule: str, now: datetime) -> timedelta | None:
    """The longest time between two of the coming firings of a timer, given as NCRONTAB (six fields, seconds first).

    None for what is no such expression: the platform also takes a time span, or the name of another setting in ``%``.
    """
    try:
        coming = croniter(schedule, now, ret_type=datetime, second_at_beginning=True)
        fired = [coming.get_next() for _ in range(_FIRINGS)]
    except (CroniterError, ValueError):
        return None
    return max(after - before for before, after in pairwise(fired))


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What a clock on the wall of this zone shows."""
    return moment.astimezone(zone).replace(tzinfo=None)
