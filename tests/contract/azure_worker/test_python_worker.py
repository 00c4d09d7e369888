"""The app under Microsoft's own Python worker library: what Azure will say when it loads ``function_app.py``."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.contract.azure_worker.worker_environment import REQUIREMENTS, ROOT, python_3_13, worker_python

DRIVER = Path(__file__).with_name("drive_worker.py")
pytestmark = pytest.mark.timeout(600)  # the first run installs the worker's environment

HTTP = [("httpTrigger", "IN"), ("http", "OUT")]
EXPECTED = {
    "model_uploaded": [("blobTrigger", "IN")],
    "advance_rollout": [("queueTrigger", "IN")],
    "upload_given_up": [("queueTrigger", "IN")],
    "rollout_given_up": [("queueTrigger", "IN")],
    "perform_operation": [("queueTrigger", "IN")],
    "sweep": [("timerTrigger", "IN")],
    "teardown_idle": [("timerTrigger", "IN")],
    "classify": HTTP,
    "predict": HTTP,
    "models": HTTP,
    "cluster": HTTP,
    "doctor": HTTP,
    "health": HTTP,
    "operations": HTTP,
    "keyed": HTTP,
    "keys": HTTP,
    "openapi": HTTP,
}


@pytest.fixture(scope="module")
def interpreter() -> Path:
    python = python_3_13()
    if python is None:
        pytest.skip("Microsoft's worker library needs Python 3.13, and none is installed on this machine")
    return worker_python(python)


def drive(interpreter: Path, app: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(interpreter), str(DRIVER), str(app)], capture_output=True, text=True, check=False, timeout=120, cwd=app
    )


@pytest.fixture(scope="module")
def answers(interpreter: Path) -> dict[str, Any]:
    done = drive(interpreter, ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_worker_indexes_every_function_with_its_bindings(answers: dict[str, Any]) -> None:
    found = {
        name: [(binding["type"], binding["direction"]) for binding in bindings]
        for name, bindings in answers["functions"].items()
    }
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


def test_an_upload_arrives_by_event_grid_as_a_blob_client(answers: dict[str, Any]) -> None:
    (binding,) = answers["functions"]["model_uploaded"]
    assert (binding["path"], binding["connection"], binding["source"]) == (
        "models/{name}",
        "AzureWebJobsStorage",
        "EventGrid",
    )
    # the worker hands the function a client, not the blob's bytes
    assert binding["properties"]["SupportsDeferredBinding"] is True


def test_only_health_and_what_checks_a_models_key_itself_are_open_at_the_host(answers: dict[str, Any]) -> None:
    levels = {
        name: bindings[0]["authLevel"]
        for name, bindings in answers["functions"].items()
        if bindings[0]["type"] == "httpTrigger"
    }
    assert {name for name, level in levels.items() if level == "ANONYMOUS"} == {"health", "keyed"}


def test_health_answers_through_the_worker(answers: dict[str, Any]) -> None:
    assert answers["health"]["status"] == "200"
    assert answers["health"]["body"]["status"] == "ok"


def test_the_app_loads_without_tensorflow(answers: dict[str, Any]) -> None:
    assert answers["heavy"] == []  # nor is it installed there: an import at module level would have failed


def test_the_worker_refuses_what_a_looser_host_accepts(interpreter: Path, tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.queue_trigger(arg_name='message', queue_name='q', connection='AzureWebJobsStorage')\n"
        "def wrong(message: func.HttpRequest) -> None:\n"
        "    pass\n"
    )
    done = drive(interpreter, tmp_path)
    assert done.returncode == 1
    assert "cannot load the wrong function" in done.stderr
    assert "Python type annotation HttpRequest" in done.stderr


TENSORFLOW = {"tensorflow", "keras", "tf-keras"}  # never in the process that answers requests


def test_the_workers_environment_has_what_the_app_depends_on_but_tensorflow_and_keras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {re.split(r"[^a-z0-9-]", dependency)[0] for dependency in project["project"]["dependencies"]}
    pinned = dict(line.split("==", 1) for line in REQUIREMENTS.read_text().splitlines())
    assert needed - TENSORFLOW <= set(pinned)
    assert not TENSORFLOW & set(pinned)
    deployed = set((ROOT / "requirements.txt").read_text().splitlines())
    versions = {line.partition(" ;")[0] for line in deployed}
    for name in needed & set(pinned):
        assert f"{name}=={pinned[name].partition(' ;')[0]}" in versions
