"""The judgement on a version on trial, from the proxy's own figures. Pure; ``deployer.figures`` counts and keeps them.

An error is a request that the version's server did not answer, or answered with 5xx; what is the caller's fault (4xx) is none.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from deployer.options import CanaryOptions

_CERTAIN = 3  # errors that are enough to end a trial before its time


@dataclass(frozen=True)
class Figures:
    """Requests that a version was sent, and how many of them failed."""

    requests: int = 0
    errors: int = 0

    @property
    def rate(self) -> float:
        """Failed requests among all, from 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0

    def __str__(self) -> str:
        return f"{self.errors} of {self.requests} requests failed ({self.rate:.2%})"


@dataclass(frozen=True)
class Undecided:
    """The trial goes on."""

    message: str


@dataclass(frozen=True)
class Passed:
    """The version may have all requests."""

    why: str


@dataclass(frozen=True)
class Failed:
    """The version is given up."""

    reason: str


Verdict = Undecided | Passed | Failed


def judge(trial: Figures, stable: Figures, options: CanaryOptions, *, elapsed: timedelta, lag: timedelta) -> Verdict:
    """What to do with a version that has been on trial for ``elapsed``; its figures may be late by ``lag``.

    It fails if more of its requests fail than ``max_error_rate`` allows and than fail of the version that serves: what befalls
    both is not its fault. With several errors that is certain before the time is over. A version that nobody asked passes.
    """
    worse = trial.rate > options.max_error_rate and trial.rate > stable.rate
    over = elapsed >= timedelta(minutes=options.minutes) + lag
    if worse and (over or trial.errors >= _CERTAIN):
        return Failed(
            f"on trial {trial}; at most {options.max_error_rate:.2%} may, and of the version that serves {stable.rate:.2%} did"
        )
    if not over:
        left = math.ceil((timedelta(minutes=options.minutes) + lag - elapsed) / timedelta(minutes=1))
        return Undecided(f"on trial with {options.share:g} % of the requests for {left} min more: {trial}")
    return Passed(f"on trial {trial}" if trial.requests else "nobody asked it while it was on trial")
