"""What may be asked of models and of the doctor over HTTP, and how it is answered."""

import json
from typing import Any

import pytest

from deployer import http, routes
from deployer.errors import NotFound
from deployer.http import Request
from tests.deployed import Deployed


@pytest.fixture
def deployed() -> Deployed:
    return Deployed().drop("cats.keras", "one")


def asked(deployed: Deployed, method: str, path: str, **params: str) -> tuple[int, dict[str, Any]]:
    request = Request(method, path, {}, params)
    reply = http.guarded(request, lambda: routes.models(deployed.control, request))
    return reply.status, json.loads(reply.body)


def test_models_are_listed_and_shown_with_timeline_and_history(deployed: Deployed) -> None:
    status, listed = asked(deployed, "GET", "")
    assert (status, [model["name"] for model in listed["models"]]) == (200, ["cats"])
    status, shown = asked(deployed, "GET", "cats/")
    assert (status, shown["version"]) == (200, 1)
    assert {"stage", "started", "ended", "attempt", "outcome", "version"} <= shown["timeline"][0].keys()
    assert shown["history"][0]["who"] == "upload cats.keras"


def test_what_failed_is_retried_by_a_post(deployed: Deployed) -> None:
    status, answer = asked(deployed, "POST", "cats/retry")
    assert (status, answer["error"]["code"]) == (409, "nothing_to_retry")
    deployed.drop("cats.yaml", "gpus: many")
    status, answer = asked(deployed, "POST", "cats/retry")
    assert (status, answer["upload"]["state"]) == (202, "queued")
    assert asked(deployed, "POST", "dogs/retry")[0] == 404


@pytest.mark.parametrize(("params", "left"), [({}, {"cats.keras"}), ({"uploads": "true"}, set())])
def test_a_model_is_removed_by_a_delete(deployed: Deployed, params: dict[str, str], left: set[str]) -> None:
    status, answer = asked(deployed, "DELETE", "cats", **params)
    assert (status, answer) == (202, {"name": "cats", "removed": True, "uploads": bool(params)})
    assert set(deployed.store.blobs) == left
    assert asked(deployed, "DELETE", "cats")[0] == asked(deployed, "GET", "cats")[0] == 404
    assert asked(deployed, "GET", "") == (200, {"models": []})


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", ""), ("POST", ""), ("POST", "cats"), ("POST", "/retry"), ("GET", "cats/versions"), ("POST", "cats/x")],
)
def test_what_cannot_be_asked_is_told(deployed: Deployed, method: str, path: str) -> None:
    status, answer = asked(deployed, method, path)
    assert (status, answer["error"]["code"]) == (404, "unknown_path")
    assert deployed.serving("cats") == 1


def test_the_doctor_examines_by_get_and_repairs_by_post(deployed: Deployed) -> None:
    def told(method: str, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(routes.doctor(deployed.doctor, Request(method, path, {}, {})).body)
        return found

    assert told("GET", "").keys() == {"healthy", "findings"}
    assert told("POST", "repair/")["repaired"] == []
    for method, path in (("POST", ""), ("GET", "repair"), ("GET", "x")):
        with pytest.raises(NotFound):
            told(method, path)
