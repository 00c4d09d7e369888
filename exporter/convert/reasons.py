"""What an error says, in a line for the one who uploaded the model."""

import re
from itertools import pairwise

_MOST = 500
_WHERE = ("Graph execution error:", "Detected at node", "Original stack trace", " ", "\t")
_FUNCTION = re.compile(r"\{\{function_node [^}]*\}\} ?")


def reason(error: Exception) -> str:
    """The first line that says what is wrong: TensorFlow may put before it where, in several lines that end in a node."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    after_node = [line for before, line in pairwise(lines) if before.startswith("Node: ")]
    said = [line for line in after_node + lines if not line.startswith(_WHERE)] or lines or [type(error).__name__]
    return _FUNCTION.sub("", said[0])[:_MOST]
