"""``slipway key`` against a function app."""

import json
from pathlib import Path

from tests.functional.cli.command_line import Run
from tests.functional.cli.fake_slipway import FakeSlipway, Reply, refusal

MADE = {"model": "cats", "name": "alice", "created": "2026-07-01T12:00:00+00:00", "key": "slw-secret"}
KEYS = {"model": "cats", "keys": [{"name": "alice", "created": "2026-07-01T12:00:00+00:00"}]}


def test_a_key_is_printed_alone_on_standard_output(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/keys/cats", Reply(201, MADE))
    made = run("--data", data, "key", "add", "Cats", "alice")
    assert (made.status, made.out) == (0, "slw-secret\n")
    assert "x-slipway-key" in made.err
    asked = slipway.requests[-1]
    assert (asked.method, asked.path, json.loads(asked.body)) == ("POST", "/api/keys/cats", {"name": "alice"})
    assert run("--data", data, "key", "add", "cats", "alice", "--json").document == MADE


def test_keys_are_listed_by_name(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/keys/cats", Reply(200, KEYS), Reply(200, KEYS), Reply(200, {"model": "cats", "keys": []}))
    assert "alice  made 2026-07-01" in run("--data", data, "key", "list", "cats").out
    assert run("--data", data, "key", "list", "cats", "--json").document == KEYS
    assert "slipway key add cats" in run("--data", data, "key", "list", "cats").out


def test_a_key_is_removed(run: Run, slipway: FakeSlipway, data: Path) -> None:
    left = {"model": "cats", "keys": []}
    slipway.on("/api/keys/cats/alice", Reply(200, left))
    assert "0 keys left" in run("--data", data, "key", "rm", "cats", "alice").out
    assert slipway.requests[-1].method == "DELETE"
    assert run("--data", data, "key", "rm", "cats", "alice", "--json").document == left


def test_what_is_refused_has_its_status(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/keys/cats", refusal(409, "key_exists", "'cats' has a key named 'alice'.", "Remove it first."))
    assert run("--data", data, "key", "add", "cats", "alice").status == 1
    assert run("--data", data, "key", "rm", "cats", "bob").status == 4
    assert run("--data", data, "key", "list", "no/name").status == 2
    assert run("--data", data, "key").status == 2
