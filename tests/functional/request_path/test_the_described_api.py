"""The API as its OpenAPI documents describe it: schemathesis against them, their examples run, operations and models' keys."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.functional.request_path.served import SECONDS, Served
from tests.unit.request.pictures import jpeg, png

STRINGS = {"dtype": "string", "shape": [None]}
SIGNATURES = {
    "classify_image": {
        "method": "tensorflow/serving/predict", "inputs": {"image_bytes": STRINGS},
        "outputs": {
            "labels": {"dtype": "string", "shape": [None, None]}, "scores": {"dtype": "float32", "shape": [None, None]},
        },
    }
}  # fmt: skip
OF_AN_ESTIMATOR = {
    "serving_default": {
        "method": "tensorflow/serving/classify", "inputs": {"inputs": STRINGS},
        "outputs": {
            "classes": {"dtype": "string", "shape": [None, None]}, "scores": {"dtype": "float32", "shape": [None, None]},
        },
    },
    "regression": {
        "method": "tensorflow/serving/regress", "inputs": {"inputs": STRINGS},
        "outputs": {"outputs": {"dtype": "float32", "shape": [None, 1]}},
    },
}  # fmt: skip
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "ignored_auth",
)  # fmt: skip
PREDICT = json.dumps({"inputs": {"image_bytes": [{"b64": "AAAA"}]}}).encode()
LATER = {"Prefer": "respond-async", "Content-Type": "image/png"}


@pytest.fixture(scope="module")
def described(served: Served) -> Served:
    """The application, with a model whose signatures are known whole."""
    served.serve("lynxes", SIGNATURES)
    served.serve("estimates", OF_AN_ESTIMATOR)
    return served


@pytest.fixture(scope="module")
def key(described: Served) -> str:
    """A key of that model."""
    made = described.ask("POST", "/api/keys/lynxes", b'{"name": "alice"}')
    assert made.status == 201
    text: str = made.json["key"]
    return text


def schemathesis(location: str, base: str, headers: Mapping[str, str], folder: Path) -> None:
    """Tries every operation of the document; what it finds fails the test with its report."""
    sent = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", location, "--url", base, *sent, "--checks", ",".join(CHECKS),
        "--max-examples", "25", "--phases", "examples,coverage,fuzzing", "--request-timeout", str(SECONDS), "--seed", "6",
        "--warnings", "off", "--exclude-path-regex", "^/(cluster|ledger|doctor|models/[^/]+/(retry|rollback))",
        "--exclude-operation-id", "remove",  # there is no cluster here, and its model is asked for more
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540, cwd=folder)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "0 generated" not in done.stdout


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing_in_what_a_function_key_opens(described: Served, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{described.port}/api"
    schemathesis(f"{base}/openapi.json", base, {"x-functions-key": described.key}, tmp_path)


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing_in_what_a_models_key_opens(described: Served, key: str, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{described.port}/api/keyed"
    schemathesis(f"{base}/models/lynxes/openapi.json", base, {"x-slipway-key": key}, tmp_path)


def test_an_estimators_model_is_asked_by_its_own_methods(described: Served) -> None:
    paths = described.ask("GET", "/api/models/estimates/openapi.json").json["paths"]
    assert {"/v1/models/estimates:classify", "/v1/models/estimates:regress"} <= paths.keys()
    body = json.dumps({"examples": [{"x": [1.0]}, {"x": [2.0]}]}).encode()
    found = described.ask("POST", "/api/v1/models/estimates:classify", body)
    assert (found.status, found.json) == (200, {"results": [[["lynx", 0.9], ["cat", 0.1]]] * 2})
    assert described.ask("POST", "/api/v1/models/estimates:regress", body).json == {"results": [2.5, 2.5]}


def test_the_documents_are_valid_as_they_are_served(described: Served) -> None:
    for path in ("/api/openapi.json", "/api/models/lynxes/openapi.json", "/api/models/numbers/openapi.json"):
        OpenAPIV31SpecValidator(described.ask("GET", path).json).validate()
    assert described.ask("GET", "/api/openapi.json", key=False).status == 401
    assert described.ask("GET", "/api/models/nothing/openapi.json").code == "unknown_model"
    assert described.ask("GET", "/api/models/lynxes/other.json").code == "unknown_path"


def test_the_python_example_runs(described: Served, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(jpeg())
    program = described.ask("GET", "/api/models/lynxes").json["examples"]["python"]
    environment = {
        **os.environ,
        "SLIPWAY_URL": f"http://127.0.0.1:{described.port}",
        "SLIPWAY_KEY": described.key,
        "no_proxy": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "'lynx'" in done.stdout


def ended(served: Served, address: str, headers: Mapping[str, str], *, key: bool) -> Any:
    """The operation, once it has ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = served.ask("GET", address, headers=headers, key=key)
        assert found.status == 200
        if found.json["state"] in ("done", "failed"):
            return found.json
        assert int(found.headers["Retry-After"]) > 0
        time.sleep(0.2)
    raise AssertionError(f"{address} did not end: {found.json}")


def test_a_prediction_may_be_asked_for_and_fetched_later(described: Served) -> None:
    taken = described.ask("POST", "/api/classify/lynxes?top=1", png(), LATER)
    assert (taken.status, taken.headers["Preference-Applied"]) == (202, "respond-async")
    address = taken.headers["Operation-Location"]
    assert described.ask("GET", address, key=False).status == 401
    found = ended(described, address, {}, key=True)
    assert found["result"]["predictions"] == [[{"label": "lynx", "score": 0.9}]]
    assert described.ask("GET", "/api/operations/lynxes." + "0" * 32).code == "unknown_operation"


def test_an_operation_of_a_sleeping_model_ends_once_it_is_awake(described: Served) -> None:
    described.put_to_sleep("sleeper")
    taken = described.ask("POST", "/api/v1/models/sleeper:predict", PREDICT, {"Prefer": "respond-async"})
    assert (taken.status, taken.json["state"]) == (202, "pending")
    address, deadline = taken.headers["Location"], time.monotonic() + 60
    while (found := described.ask("GET", address).json)["state"] == "pending" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (found["state"], found["stage"]) == ("running", "queued")
    described.serve("sleeper", SIGNATURES)
    done = ended(described, address, {}, key=True)
    assert done["result"] == {"outputs": {"labels": [["lynx", "cat"]], "scores": [[0.9, 0.1]]}}


def test_a_models_key_opens_its_predictions_below_keyed_and_nothing_else(described: Served, key: str) -> None:
    own = {"x-slipway-key": key}
    asked = described.ask("POST", "/api/keyed/classify/lynxes", png(), {**own, "Content-Type": "image/png"}, key=False)
    assert (asked.status, asked.headers["x-slipway-model-version"]) == (200, "1")
    assert described.ask("POST", "/api/keyed/v1/models/lynxes:predict", PREDICT, own, key=False).status == 200
    taken = described.ask("POST", "/api/keyed/classify/lynxes", png(), {**own, **LATER}, key=False)
    address = taken.headers["Location"]
    assert ended(described, address, own, key=False)["state"] == "done"
    assert described.ask("GET", address, key=False).code == "no_key"
    assert described.ask("POST", "/api/keyed/classify/cats", png(), own, key=False).code == "wrong_key"
    for method, path in (("POST", "/api/classify/lynxes"), ("GET", "/api/models"), ("GET", "/api/keys/lynxes")):
        assert described.ask(method, path, png(), own, key=False).status == 401, path
    assert described.ask("GET", "/api/keyed/keys/lynxes", headers=own, key=False).code == "unknown_path"


def test_a_function_key_is_no_key_of_a_model(described: Served) -> None:
    assert described.ask("POST", "/api/keyed/classify/lynxes", png()).code == "no_key"
    own = {"x-slipway-key": described.key}
    assert described.ask("POST", "/api/keyed/classify/lynxes", png(), own).code == "wrong_key"


def test_keys_are_made_listed_and_removed(described: Served) -> None:
    assert described.ask("POST", "/api/keys/lynxes", b'{"name": "bob"}').json["name"] == "bob"
    assert "bob" in [item["name"] for item in described.ask("GET", "/api/keys/lynxes").json["keys"]]
    assert described.ask("POST", "/api/keys/lynxes", b'{"name": "bob"}').code == "key_exists"
    assert described.ask("DELETE", "/api/keys/lynxes/bob").status == 200
    assert described.ask("DELETE", "/api/keys/lynxes/bob").code == "unknown_key"
    assert described.ask("POST", "/api/keys/lynxes", b"{").code == "bad_json"
    assert described.ask("POST", "/api/keys/lynxes", b'{"name": "../x"}').code == "bad_key_name"
    assert described.ask("POST", "/api/keys/nothing", b'{"name": "bob"}').code == "unknown_model"
    assert described.ask("GET", "/api/keys/").code == "unknown_path"
