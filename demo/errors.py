"""What ends the demo without success."""


class DemoError(Exception):
    """A claim that turned out not to be so, or something awaited that did not come. Its message says which."""


def check(claim: bool, what: str) -> None:
    """Every claim the demo makes goes through here.

    Raises:
        DemoError: it is not so.
    """
    if not claim:
        raise DemoError(f"This should be so, and is not: {what}.")
