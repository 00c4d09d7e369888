"""``make replay``: replays recordings and says how many of their steps an API server answers alike.

    python -m tests.contract.kubernetes_stand_in.replay --recordings DIR [NAME…]

Without ``--api-server`` each recording gets a stand-in of its own. A server given by address has to be without nodes,
kubelets and load balancers of its own, as the recorder plays their part; it is changed, and its namespaces stay.

The exit status is 0 when every recording that is held to a bound reaches it, 1 otherwise, 2 for a wrong call.
What differs, and why, stands in ``differences.json``.
"""

import argparse
import asyncio
import json
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from localcloud.kubernetes import KubernetesApi, Role
from tests.contract.kubernetes_stand_in.recordings import ApiServer, Outcome, Replay, load

BOUND = 0.95
HELD_TO_BOUND = ("01", "02", "03", "04", "07", "09", "10", "12", "13", "17", "20")
RECORDINGS = Path(__file__).parents[4] / "shared" / "kube_golden"
_DIFFERENCES = Path(__file__).with_name("differences.json")


def known_differences(name: str, kind: str) -> Mapping[int, str]:
    """Returns the steps of a recording that are known to differ, with the reason.

    ``kind`` is ``always``, or ``may``: where two controllers race, on the recorded server as here.
    """
    listed = json.loads(_DIFFERENCES.read_text()).get(name, {}).get(kind, {})
    return {int(step): reason for step, reason in listed.items()}


@asynccontextmanager
async def stand_in() -> AsyncIterator[ApiServer]:
    """A stand-in of its own, with the recordings' users."""
    with tempfile.TemporaryDirectory() as data:
        server = await KubernetesApi.start(Path(data), "127.0.0.1", 0, "admin", "viewer", viewer_role=Role.NONE)
        try:
            yield ApiServer(server.url, {"admin": "admin", "viewer": "viewer", "badtoken": "nobody"})
        finally:
            await server.stop()


async def replay(path: Path, server: ApiServer | None = None) -> Outcome:
    """Replays one recording: against ``server``, or a stand-in, where known differences are not waited for."""
    recording = load(path)
    if server is not None:
        return await Replay(server, recording).run()
    async with stand_in() as own:
        return await Replay(own, recording, frozenset(known_differences(path.stem, "always"))).run()


def summary(outcome: Outcome) -> str:
    """Returns the line about one recording."""
    number = outcome.name[:2]
    line = f"{outcome.name:22} {outcome.equal:3} of {outcome.total:3} steps equal"
    if number in HELD_TO_BOUND:
        line += "" if outcome.share >= BOUND else f"  BELOW {BOUND:.0%}"
    else:
        line += "  (reported only)"
    return line + (f"  ({outcome.not_asked} about groups that are not served: not asked)" if outcome.not_asked else "")


async def run(paths: Sequence[Path], server: ApiServer | None, *, verbose: bool) -> int:
    """Replays, prints a line about each, and returns the exit status."""
    below = []
    for path in paths:
        outcome = await replay(path, server)
        sys.stdout.write(f"{summary(outcome)}\n")
        for index, asked, why in outcome.differing if verbose else ():
            sys.stdout.write(f"    {index}: {asked}\n        {why}\n")
        sys.stdout.flush()
        if outcome.name[:2] in HELD_TO_BOUND and outcome.share < BOUND:
            below.append(outcome.name)
    if below:
        sys.stderr.write(f"Below {BOUND:.0%}: {', '.join(below)}. Add --verbose to see each step that differs.\n")
    return 1 if below else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and replays."""
    parser = argparse.ArgumentParser(
        prog="make replay", description="Replay recorded exchanges with a Kubernetes API server."
    )
    parser.add_argument(
        "names", nargs="*", help="recordings to replay, by the beginning of their names; all by default"
    )
    parser.add_argument("--recordings", type=Path, default=RECORDINGS, metavar="DIR", help="folder with the recordings")
    parser.add_argument("--api-server", metavar="URL", help="replay there, not against the stand-in")
    parser.add_argument("--token", default="", help="bearer token of an administrator of that server")
    parser.add_argument("--viewer-token", default="", help="bearer token of a user 'viewer' without rights there")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="certificate authority of that server")
    parser.add_argument("--verbose", action="store_true", help="say what differs, step by step")
    given = parser.parse_args(arguments)
    paths = [
        path
        for path in sorted(given.recordings.glob("[0-9]*.json"))
        if not given.names or path.name.startswith(tuple(given.names))
    ]
    if not paths:
        parser.error(
            f"there are no such recordings in {given.recordings}; name their folder: make replay RECORDINGS=DIR"
        )
    server = None
    if given.api_server:
        trust = ssl.create_default_context(cafile=given.ca) if given.ca else True
        tokens = {"admin": given.token, "viewer": given.viewer_token, "badtoken": "nobody"}
        server = ApiServer(given.api_server.rstrip("/"), tokens, trust)
    return asyncio.run(run(paths, server, verbose=given.verbose))


if __name__ == "__main__":
    sys.exit(main())
