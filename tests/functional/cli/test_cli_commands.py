"""The commands against a function app: what they ask, what they print, and the status they end with."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.functional.cli.command_line import Run, write_endpoints
from tests.functional.cli.fake_slipway import KEY, FakeSlipway, Reply, refusal, waking
from tests.unit.cli.models_shown import shown, upload, version

PNG = b"\x89PNG\r\n\x1a\n..."
CLUSTER = {
    "state": "awake", "power": "Running", "pool": {"name": "gpu", "count": 1, "wanted": 1},
    "idle": {"rung": None, "reason": "models are in use", "due_in_seconds": 61.0}, "updated": "2026-03-01T12:00:00+00:00",
}  # fmt: skip
SUMMARY = {"name": "cats", "state": "failed", "version": 2, "desired": 2, "asleep": False,
           "reason": "It is no zip", "hint": "Save it again",
           "updated": "2026-03-01T12:00:00+00:00"}  # fmt: skip
MODEL: dict[str, Any] = SUMMARY | {
    "classify_url": "/api/classify/cats", "rollout": None,
    "upload": {"blob": "cats.keras", "etag": "e", "state": "failed", "stage": "scan", "version": None, "at": "x"},
    "versions": [{"version": 2, "state": "serving", "created": "2026-03-01T11:00:00+00:00", "bytes": 2_621_440,
                  "source": {"name": "Cats.keras"}, "labels": 10, "signatures": {}, "reason": None}],
    "timeline": [{"version": 2, "stage": "convert", "started": "2026-03-01T11:00:00+00:00", "seconds": 3.21,
                  "ended": "2026-03-01T11:00:03+00:00", "outcome": "done", "detail": "", "attempt": 2}],
    "history": [{"number": 1, "at": "2026-03-01T11:00:05+00:00", "who": "rollout", "what": "requests go to v2",
                 "why": "it proved itself"}],
}  # fmt: skip


def _answer(*predictions: tuple[str, float], version: int = 3) -> Reply:
    found = [{"label": label, "score": score} for label, score in predictions]
    return Reply(200, {"model": "cats", "version": version, "predictions": [found]})


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "lynx.png"
    path.write_bytes(PNG)
    return path


def test_models_lists_each_with_its_state_version_and_reason(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models", Reply(200, {"models": [SUMMARY]}))
    ended = run("--data", data, "models")
    assert ended.status == 0
    for word in ("cats", "failed", "v2", "It is no zip", "Save it again"):
        assert word in ended.out
    assert slipway.requests[0].headers["x-functions-key"] == KEY


def test_without_models_it_says_how_to_get_one(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models", Reply(200, {"models": []}))
    assert "slipway push" in run("--data", data, "models").out


def test_json_is_the_apis_own_document_and_nothing_else(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models", Reply(200, {"models": [SUMMARY]}))
    slipway.on("/api/models/cats", Reply(200, MODEL))
    slipway.on("/api/cluster", Reply(200, CLUSTER))
    assert run("--data", data, "models", "--json").document == {"models": [SUMMARY]}
    assert run("--data", data, "status", "cats", "--json").document == MODEL
    assert run("--data", data, "cluster", "--json").document == CLUSTER


def test_output_that_goes_to_no_terminal_has_no_control_characters(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models/cats", Reply(200, MODEL))
    ended = run("--data", data, "status", "cats")
    assert not {character for character in ended.out if ord(character) < 32} - {"\n"}


def test_status_shows_versions_timeline_failure_and_how_to_ask(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models/cats", Reply(200, MODEL))
    out = run("--data", data, "status", "cats").out
    for word in ("v2 serves", "It is no zip", "Save it again", "Cats.keras", "2.5 MiB", "convert", "3.21 s"):
        assert word in out
    assert f"curl -H 'x-functions-key: {KEY}' --data-binary @IMAGE {slipway.url}/api/classify/cats\n" in out


def test_of_versions_held_back_what_the_newest_changes_is_shown(run: Run, slipway: FakeSlipway, data: Path) -> None:
    held = [
        version(2, "held", schema_change=("! old.inputs.image: no longer taken",)),
        version(3, "held", schema_change=("! new.inputs.image: no longer taken",)),
    ]
    newest = upload("etag", "held", 3, reason="v3 is held back", hint="accept_schema_change: true")
    slipway.on("/api/models/cats", Reply(200, shown(newest, version(1, "serving"), *held, serving=1)))
    out = run("--data", data, "status", "cats").out
    for word in ("held, v1 serves", "v3 is held back", "accept_schema_change", "what v3 changes", "! new.inputs.image"):
        assert word in out
    assert "! old.inputs.image" not in out


def test_the_key_of_an_app_on_azure_is_not_printed(run: Run, slipway: FakeSlipway) -> None:
    slipway.on("/api/models/cats", Reply(200, MODEL))
    out = run("--url", slipway.url, "--key", KEY, "status", "cats").out
    assert KEY not in out
    assert "$SLIPWAY_KEY" in out


def test_a_model_may_be_named_as_it_was_dropped(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models/cats-v2", Reply(200, MODEL))
    assert run("--data", data, "status", "Cats_v2").status == 0


def test_a_name_that_can_be_none_is_a_usage_error(run: Run, slipway: FakeSlipway, data: Path) -> None:
    ended = run("--data", data, "status", "кот")
    assert (ended.status, slipway.requests) == (2, [])
    assert "cannot become a model name" in ended.err


def test_a_model_that_is_not_there_ends_with_status_4_and_the_apis_words(run: Run, data: Path) -> None:
    ended = run("--data", data, "status", "dogs")
    assert (ended.status, ended.out) == (4, "")
    assert "There is nothing at /api/models/dogs." in ended.err
    assert "GET /api/models lists the models." in ended.err


def test_errors_are_json_where_json_is_asked_for(run: Run, data: Path) -> None:
    ended = run("--data", data, "status", "dogs", "--json")
    assert (ended.status, ended.err) == (4, "")
    assert ended.document["error"]["code"] == "no_model"


def test_a_wrong_key_ends_with_status_3_and_says_where_keys_are(run: Run, slipway: FakeSlipway) -> None:
    ended = run("--url", slipway.url, "--key", "wrong", "models")
    assert ended.status == 3
    assert "does not accept the key" in ended.err
    assert "--key" in ended.err


def test_a_missing_key_says_so(run: Run, slipway: FakeSlipway) -> None:
    assert "asks for a key" in run("--url", slipway.url, "models").err


def test_the_environment_names_an_app_as_the_options_do(
    run: Run, slipway: FakeSlipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    slipway.on("/api/cluster", Reply(200, CLUSTER))
    monkeypatch.setenv("SLIPWAY_URL", slipway.url)
    monkeypatch.setenv("SLIPWAY_KEY", KEY)
    assert run("cluster").status == 0


def test_a_local_cloud_that_was_killed_is_told_from_one_that_was_never_there(run: Run, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        write_endpoints(tmp_path, f"http://127.0.0.1:{unused.getsockname()[1]}")
        killed = run("--data", tmp_path, "models")
    never = run("--data", tmp_path / "elsewhere", "models")
    assert (killed.status, never.status) == (3, 3)
    assert str(tmp_path / "endpoints.json") in killed.err
    assert "slipway up" in killed.err
    assert "No local cloud runs" in never.err


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"error": "x"}', b""])
def test_an_answer_that_is_not_slipways_is_told(run: Run, slipway: FakeSlipway, data: Path, body: bytes) -> None:
    slipway.on("/api/models", Reply(502, body))
    ended = run("--data", data, "models")
    assert ended.status == 1
    assert "answered 502, and not as Slipway does" in ended.err


def test_arguments_that_cannot_be_parsed_end_with_status_2(run: Run) -> None:
    for arguments in (["nonsense"], ["status"], ["cluster", "explode"], ["classify", "cats"], ["models", "--nonsense"]):
        ended = run(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert "slipway --help" in ended.err
    assert run("models", "--nonsense", "--json").document["error"]["code"] == "usage"


def test_cluster_shows_pool_and_idle_decision(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/cluster", Reply(200, CLUSTER))
    out = run("--data", data, "cluster").out
    for word in ("awake", "Running", "gpu: 1 node", "models are in use", "61 s"):
        assert word in out


@pytest.mark.parametrize("action", ["wake", "sleep"])
def test_the_cluster_is_woken_and_put_to_sleep_by_a_post(
    run: Run, slipway: FakeSlipway, data: Path, action: str
) -> None:
    slipway.on(f"/api/cluster/{action}", Reply(202, CLUSTER))
    assert run("--data", data, "cluster", action).status == 0
    assert [(request.method, request.path) for request in slipway.requests] == [("POST", f"/api/cluster/{action}")]


def test_classify_prints_names_and_scores_for_each_image(
    run: Run, slipway: FakeSlipway, data: Path, image: Path, tmp_path: Path
) -> None:
    other = tmp_path / "cat.jpg"
    other.write_bytes(b"\xff\xd8\xff\xe0...")
    slipway.on("/api/classify/cats", _answer(("lynx", 0.93511), ("tabby", 0.0102)), _answer(("tabby", 0.8)))
    ended = run("--data", data, "classify", "cats", image, other, "--top", 2)
    assert ended.status == 0
    assert [line.split() for line in ended.out.replace(str(tmp_path), "").splitlines()[1:]] == [
        ["/lynx.png", "lynx", "0.9351", "v3"],
        ["tabby", "0.0102"],
        ["/cat.jpg", "tabby", "0.8000", "v3"],
    ]
    assert [(request.headers["content-type"], request.body) for request in slipway.requests] == [
        ("image/png", PNG),
        ("image/jpeg", other.read_bytes()),
    ]
    assert {request.path for request in slipway.requests} == {"/api/classify/cats?top=2"}


def test_classify_as_json_has_one_result_per_image(run: Run, slipway: FakeSlipway, data: Path, image: Path) -> None:
    slipway.on(
        "/api/classify/cats", _answer(("lynx", 0.9)), refusal(400, "bad_image", "It is no image.", "Send a PNG.")
    )
    ended = run("--data", data, "classify", "cats", image, image, "--json")
    assert ended.status == 1
    assert ended.document == {
        "model": "cats",
        "results": [
            {"image": str(image), "version": 3, "predictions": [{"label": "lynx", "score": 0.9}]},
            {"image": str(image), "error": {"code": "bad_image", "message": "It is no image.", "hint": "Send a PNG."}},
        ],
    }


def test_an_image_that_is_refused_is_told_among_those_that_are_not(
    run: Run, slipway: FakeSlipway, data: Path, image: Path
) -> None:
    slipway.on(
        "/api/classify/cats", refusal(400, "bad_image", "It is no image.", "Send a PNG."), _answer(("lynx", 0.9))
    )
    ended = run("--data", data, "classify", "cats", image, image)
    assert ended.status == 1
    assert "It is no image." in ended.out
    assert "lynx" in ended.out


def test_a_single_image_that_is_refused_is_an_error(run: Run, slipway: FakeSlipway, data: Path, image: Path) -> None:
    slipway.on("/api/classify/cats", refusal(400, "bad_image", "It is no image.", "Send a PNG."))
    ended = run("--data", data, "classify", "cats", image)
    assert (ended.status, ended.out) == (1, "")
    assert "It is no image." in ended.err


def test_an_image_that_is_not_there_is_found_out_before_anything_is_asked(
    run: Run, slipway: FakeSlipway, data: Path, image: Path, tmp_path: Path
) -> None:
    ended = run("--data", data, "classify", "cats", image, tmp_path / "none.png")
    assert (ended.status, slipway.requests) == (2, [])
    assert "none.png" in ended.err


def test_a_model_that_sleeps_is_waited_for_with_a_held_request(
    run: Run, slipway: FakeSlipway, data: Path, image: Path
) -> None:
    slipway.on("/api/classify/cats", waking(240), _answer(("lynx", 0.9)))
    ended = run("--data", data, "classify", "cats", image, "--json")
    assert ended.status == 0
    assert ended.document["results"][0]["predictions"][0]["label"] == "lynx"
    assert "240 s" in ended.err
    assert [request.headers.get("prefer") for request in slipway.requests] == [None, "wait=200"]


def test_a_wake_that_outlasts_one_held_request_is_asked_again(
    run: Run, slipway: FakeSlipway, data: Path, image: Path
) -> None:
    slipway.on("/api/classify/cats", waking(), waking(), _answer(("lynx", 0.9)))
    ended = run("--data", data, "classify", "cats", image, "--wait", 60)
    assert (ended.status, len(slipway.requests)) == (0, 3)


def test_not_waiting_for_a_model_that_sleeps_ends_with_status_5_and_its_eta(
    run: Run, slipway: FakeSlipway, data: Path, image: Path
) -> None:
    slipway.on("/api/classify/cats", waking(240))
    ended = run("--data", data, "classify", "cats", image, "--wait", 0, "--json")
    assert (ended.status, len(slipway.requests)) == (5, 1)
    assert ended.document["error"]["eta_seconds"] == 240


def test_waiting_ends_when_its_time_is_up(run: Run, slipway: FakeSlipway, data: Path, image: Path) -> None:
    slipway.on("/api/classify/cats", waking())
    ended = run("--data", data, "classify", "cats", image, "--wait", 1)
    assert ended.status == 5
    assert "was not awake after 1 s" in ended.err


def test_help_names_every_command(run: Run) -> None:
    ended = run("--help")
    assert ended.status == 0
    for command in ("up", "push", "models", "status", "classify", "cluster"):
        assert f"  {command} " in ended.out


def test_what_is_printed_as_json_is_not_escaped(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models", Reply(200, json.dumps({"models": [SUMMARY | {"reason": "rückwärts"}]}).encode()))
    assert "rückwärts" in run("--data", data, "models", "--json").out


def test_status_tells_start_end_attempt_and_what_was_decided(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models/cats", Reply(200, MODEL))
    told = run("--data", data, "status", "cats").out
    assert "convert    11:00:00-11:00:03     3.21 s  attempt 2" in told
    assert "2026-03-01 11:00:05  rollout: requests go to v2 (it proved itself)" in told


@pytest.mark.parametrize(("state", "when"), [("queued", "within a minute"), ("published", "now")])
def test_retry_tells_when_it_is_taken_up(run: Run, slipway: FakeSlipway, data: Path, state: str, when: str) -> None:
    slipway.on("/api/models/cats/retry", Reply(202, MODEL | {"upload": {"state": state}}))
    ended = run("--data", data, "retry", "Cats")
    assert (ended.status, slipway.requests[0].method) == (0, "POST")
    assert when in ended.out and "slipway status cats" in ended.out


def test_a_retry_of_what_does_not_stand_still_ends_with_status_1(run: Run, slipway: FakeSlipway, data: Path) -> None:
    slipway.on("/api/models/cats/retry", refusal(409, "nothing_to_retry", "Nothing has failed.", "Look at it."))
    ended = run("--data", data, "retry", "cats", "--json")
    assert (ended.status, json.loads(ended.out)["error"]["code"]) == (1, "nothing_to_retry")


@pytest.mark.parametrize(
    ("option", "query", "removed", "told"),
    [
        ([], "", True, "What was dropped stays"),
        (["--uploads"], "?uploads=true", True, "cats is gone."),
        ([], "", False, "goes with the next sweeps"),
    ],
)
def test_rm_removes_a_model_and_tells_what_stays(
    run: Run, slipway: FakeSlipway, data: Path, option: list[str], query: str, removed: bool, told: str
) -> None:
    slipway.on("/api/models/cats", Reply(202, {"name": "cats", "removed": removed, "uploads": bool(option)}))
    ended = run("--data", data, "rm", "cats", *option)
    assert (slipway.requests[0].method, slipway.requests[0].path) == ("DELETE", f"/api/models/cats{query}")
    assert ended.status == 0 and told in ended.out


FINDING = {"check": "cats", "level": "error", "message": "its record was lost.", "hint": "Make it anew."}


@pytest.mark.parametrize(("healthy", "status"), [(True, 0), (False, 1)])
def test_the_doctors_findings_decide_the_status(
    run: Run, slipway: FakeSlipway, data: Path, healthy: bool, status: int
) -> None:
    slipway.on("/api/doctor", Reply(200, {"healthy": healthy, "findings": [FINDING]}))
    ended = run("--data", data, "doctor")
    assert ended.status == status and "error cats: its record was lost." in ended.out and "Make it anew." in ended.out
    as_json = run("--data", data, "doctor", "--json")
    assert (as_json.status, json.loads(as_json.out)) == (status, {"healthy": healthy, "findings": [FINDING]})


@pytest.mark.parametrize(("repaired", "told"), [(["cats"], "record of cats made anew"), ([], "no record was lost")])
def test_a_repair_names_what_was_made_anew(
    run: Run, slipway: FakeSlipway, data: Path, repaired: list[str], told: str
) -> None:
    slipway.on("/api/doctor/repair", Reply(200, {"healthy": True, "findings": [], "repaired": repaired}))
    ended = run("--data", data, "doctor", "--repair")
    assert (ended.status, slipway.requests[0].method) == (0, "POST") and told in ended.out
