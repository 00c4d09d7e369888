"""``make bench``: every benchmark, each against its peer, as ratios in one run. An absolute time proves nothing here.

Two are against a bound instead: what looks cost as models grow in number, and the time from a drop to its first answer. Exit
status 0: both are within it.
"""

import sys

from benchmarks import drop_to_serve, export_peers, idle_year, scale
from benchmarks.request import compare


def main() -> int:
    """Runs them all."""
    export_peers.main()
    compare.main()
    idle_year.main()
    missed = [scale.main(), drop_to_serve.main()]
    return max(missed)


if __name__ == "__main__":
    sys.exit(main())
