"""The answers of the HTTP API: one shape of errors, a number for each request, and nothing told of a bug."""

import json
import re

import pytest

from deployer.errors import NotFound, TryLater, Waking
from deployer.http import Reply, Request, failure, guarded, guarded_async, reply

REQUEST = Request("GET", "", {}, {})


def with_id(number: str) -> Request:
    return Request("GET", "", {"x-request-id": number}, {})


def test_a_wake_says_when_to_come_back() -> None:
    answer = failure(Waking("It sleeps.", eta_seconds=240, stage="gpu-node"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "240")
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["eta_seconds"], error["stage"]) == ("waking", 240, "gpu-node")


def test_an_error_that_does_not_know_when_to_come_back_does_not_say() -> None:
    assert "Retry-After" not in failure(TryLater("asleep", "It sleeps.", "Ask.", retry_after=None)).headers


def test_an_error_has_the_shape_of_all_errors() -> None:
    def missing() -> Reply:
        raise NotFound("unknown_model", "There is none.", "Drop one.")

    answer = guarded(REQUEST, missing)
    assert answer.status == 404
    assert json.loads(answer.body) == {
        "error": {"code": "unknown_model", "message": "There is none.", "hint": "Drop one."}
    }


async def test_a_bug_tells_its_number_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    def bug() -> Reply:
        raise RuntimeError("secret")

    async def slow_bug() -> Reply:
        raise RuntimeError("secret")

    for answer in (guarded(with_id("a-1"), bug), await guarded_async(with_id("a-1"), slow_bug)):
        text = answer.body.decode()
        assert answer.status == 500
        assert "secret" not in text and "a-1" in text
        assert caplog.records[-1].getMessage() == "unexpected error a-1"


@pytest.mark.parametrize("number", ["a", "4bf92f35-77b3", "0HN:00000001", "x" * 128])
def test_a_sane_request_id_is_given_back(number: str) -> None:
    assert guarded(with_id(number), lambda: reply({})).headers["x-request-id"] == number


@pytest.mark.parametrize("number", ["", "x" * 129, "a b", "a\r\nSet-Cookie: b", "é", "<script>"])
def test_any_other_is_replaced(number: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", guarded(with_id(number), lambda: reply({})).headers["x-request-id"])


def test_an_answer_is_json() -> None:
    assert reply({"a": 1}, 202) == Reply(202, b'{"a":1}', {"Content-Type": "application/json"})
