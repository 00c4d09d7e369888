"""The claims that the demo makes, each checked; and what ends the demo where one is not so."""

from demo.client import Answer
from demo.errors import DemoError
from demo.load import Tally


def check(claim: bool, what: str) -> None:
    """Makes sure that a claim is so.

    Raises:
        DemoError: it is not.
    """
    if not claim:
        raise DemoError(f"This should be so, and is not: {what}.")


def answered_by(version: int, answer: Answer) -> None:
    """Makes sure that a version answered."""
    check(answer.status == 200, f"the request is answered (status {answer.status}: {answer.body})")
    check(answer.version == version, f"v{version} answers (it was v{answer.version})")


def none_failed(tally: Tally) -> None:
    """Makes sure that every request so far was answered."""
    failed = tally.failed
    first = f"; the first: {failed[0].failure}" if failed else ""
    check(not failed, f"no request fails ({len(failed)} of {len(tally.outcomes)} did{first})")
