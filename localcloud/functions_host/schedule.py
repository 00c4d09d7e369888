"""NCRONTAB, the timer trigger's schedule: six fields, seconds first; in UTC, as on Flex Consumption."""

import itertools
from datetime import UTC, datetime, timedelta

from croniter import croniter

_SAMPLES = 5


class Schedule:
    """When a timer is due.

    Day of month and day of week must both match, as in NCrontab; in classic cron one of them suffices.
    """

    def __init__(self, expression: str) -> None:
        """Raises ``ValueError``, saying what is accepted, where ``expression`` is not a schedule."""
        fields = expression.split()
        if len(fields) not in {5, 6} or not croniter.is_valid(expression, second_at_beginning=len(fields) == 6):
            raise ValueError(
                f"the schedule {expression!r} is not NCRONTAB: six fields, "
                '{second} {minute} {hour} {day} {month} {day-of-week}, such as "0 */5 * * * *".'
            )
        self._expression = expression
        self._seconds = len(fields) == 6

    def after(self, moment: datetime) -> datetime:
        """The first time later than ``moment``."""
        following = croniter(self._expression, moment, day_or=False, second_at_beginning=self._seconds).get_next(
            datetime
        )
        return following.astimezone(UTC)

    def is_frequent(self, now: datetime) -> bool:
        """Whether it comes every minute or more often; Azure keeps no status for such a timer."""
        moments = [self.after(now)]
        for _ in range(_SAMPLES):
            moments.append(self.after(moments[-1]))
        return any(later - earlier <= timedelta(minutes=1) for earlier, later in itertools.pairwise(moments))
