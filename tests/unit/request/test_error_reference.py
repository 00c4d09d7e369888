"""Each code that the request path can answer with is documented with its status, and none is that it cannot."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text()
CODE = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
RAISING = {"BadRequest", "NotFound", "SlipwayError", "TryLater", "Unavailable", "_refused"}


def codes() -> set[str]:
    """The first argument of each error made in ``deployer/request``."""
    found: set[str] = {"url_not_allowed", "waking"}
    for file in (ROOT / "deployer" / "request").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(code)), *_]) if name in RAISING:
                    found |= {code} if CODE.fullmatch(code) else set()
    return found


def documented() -> dict[str, str]:
    """Codes and statuses of the table of the HTTP API."""
    table = PAGE.partition("## Why an upload was refused")[0]
    rows = re.findall(r"^\| (`.*?`) \| (\d+) \|", table, flags=re.MULTILINE)
    return {code: status for names, status in rows for code in re.findall(r"`(\w+)`", names)}


def test_codes_are_found() -> None:
    assert {"breaker_open", "too_many_requests", "bad_image", "timeout"} <= codes()


@pytest.mark.parametrize("code", sorted(codes()))
def test_a_code_is_documented(code: str) -> None:
    assert code in documented()
