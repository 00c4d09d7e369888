"""What ends the demo without success."""


class DemoError(Exception):
    """A claim that turned out not to be so, or something awaited that did not come. Its message says which."""
