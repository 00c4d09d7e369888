"""``make bench``: every benchmark, each against its peer, as ratios in one run. An absolute time proves nothing here."""

from benchmarks import export_peers


def main() -> None:
    """Runs them all."""
    export_peers.main()


if __name__ == "__main__":
    main()
