"""``python -m localcloud.arm``: orders faults of a running local cloud's Resource Manager, shows them, takes them back."""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from localcloud.arm.admin import ADMIN_PATH, SECRET_HEADER
from localcloud.arm.faults import KNOWN, Does
from localcloud.arm.paths import Call

_SECONDS = 10.0  # for one request to the stand-in


def main(arguments: Sequence[str] | None = None) -> int:
    """The process; returns its exit status."""
    given = _parser().parse_args(arguments)
    try:
        ready = json.loads((given.data / "run" / "aks.json").read_text(encoding="utf-8"))
        answer = _ask(ready, *_request(given))
    except FileNotFoundError:
        sys.stderr.write(
            f"No local cloud is running on {given.data}: start one with 'slipway up', or name its --data.\n"
        )
        return 1
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"{json.load(error)['error']}\n")
        return 2
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"The stand-in did not answer: {error}\n")
        return 1
    for fault in answer["faults"]:
        times = "always" if fault["times"] is None else f"{fault['times']} x"
        what = fault["code"] if fault["does"] in (Does.REFUSE, Does.FAIL) else ""
        sys.stdout.write(f"{fault['on']:26} {times:8} {fault['does']} {what}\n")
    if not answer["faults"]:
        sys.stdout.write("No fault is on order.\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m localcloud.arm", description="Faults of the local cloud's Azure Resource Manager.",
        epilog=f"Calls: {', '.join(Call)}; or a pattern, as pool.*",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path(".slipway"), help="the local cloud's folder")
    verbs = parser.add_subparsers(dest="verb", required=True)
    fault = verbs.add_parser("fault", help="order one")
    fault.add_argument("call", help="the call that meets it, or a pattern")
    others = [each.value for each in Does if each not in (Does.REFUSE, Does.FAIL)]
    fault.add_argument("what", choices=[*KNOWN, *others, "error"], metavar="what",
                       help=f"an error of Azure's ({', '.join(KNOWN)}), error with --code, or {', '.join(others)}")  # fmt: skip
    fault.add_argument("--in-operation", action="store_true", help="accept, and let the operation fail with the error")
    fault.add_argument("--times", type=int, default=1, help="how many calls meet it (default: 1)")
    fault.add_argument("--always", action="store_true", help="all calls, until it is taken back")
    fault.add_argument("--status", type=int, help="HTTP status of the refusal")
    fault.add_argument("--code", help="ARM's error code")
    fault.add_argument("--message", help="ARM's message")
    fault.add_argument("--retry-after", type=int, metavar="SECONDS")
    fault.add_argument("--seconds", type=float, help="how long a hang takes (default: 600)")
    verbs.add_parser("faults", help="show those to come")
    verbs.add_parser("clear", help="take all back")
    return parser


def _request(given: argparse.Namespace) -> tuple[str, dict[str, Any] | None]:
    match given.verb:
        case "faults":
            return "GET", None
        case "clear":
            return "DELETE", None
    body: dict[str, Any] = {"on": given.call, "times": None if given.always else given.times}
    if given.what in KNOWN:
        body["known"] = given.what
    if given.in_operation:
        body["does"] = Does.FAIL.value
    elif given.what not in KNOWN and given.what != "error":
        body["does"] = given.what
    details = {
        "status": given.status, "code": given.code, "message": given.message, "retry_after": given.retry_after,
        "seconds": given.seconds,
    }  # fmt: skip
    return "POST", body | {name: value for name, value in details.items() if value is not None}


def _ask(ready: dict[str, Any], method: str, body: dict[str, Any] | None) -> Any:
    request = urllib.request.Request(  # noqa: S310  (an address of this machine, from the ready file)
        ready["arm_url"] + ADMIN_PATH, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={SECRET_HEADER: ready["identity_header"], "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
