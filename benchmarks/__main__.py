"""``make bench``: every benchmark, each against its peer, as ratios in one run. An absolute time proves nothing here."""

from benchmarks import export_peers, idle_year
from benchmarks.request import compare


def main() -> None:
    """Runs them all."""
    export_peers.main()
    compare.main()
    idle_year.main()


if __name__ == "__main__":
    main()
