"""The entry point translates and nothing else: what it may import, and what must never be loaded beside it."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
ALLOWED = {"functools", "json", "logging", "azure.functions", "azurefunctions.extensions.bindings", "deployer"}
FUNCTIONS = {
    "model_uploaded", "advance_rollout", "sweep", "teardown_idle", "classify", "predict", "models", "cluster", "health",
    "perform_operation", "operations", "keyed", "keys", "openapi",
    "upload_given_up", "rollout_given_up", "doctor", "ledger",
}  # fmt: skip

LOADED = """
import json, sys
import function_app
print(json.dumps(sorted(sys.modules)))
"""


FROZEN = """
import gc
import function_app
before = gc.get_freeze_count()
function_app.application()
function_app.application()
print(before, gc.get_freeze_count(), len(gc.get_objects()))
"""


def imported() -> set[str]:
    tree = ast.parse((ROOT / "function_app.py").read_text())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_the_entry_point_imports_the_binding_libraries_and_the_deployer_only() -> None:
    assert {name if name in ALLOWED else name.partition(".")[0] for name in imported()} <= ALLOWED


def test_it_reaches_no_further_than_wiring_http_errors_and_settings() -> None:
    ours = {name for name in imported() if name.startswith("deployer")}
    assert ours <= {"deployer", "deployer.errors", "deployer.http", "deployer.settings", "deployer.wiring"}


def test_loading_it_loads_neither_tensorflow_nor_the_local_cloud() -> None:
    """The app starts within Azure's limits, and what is deployed has no local cloud."""
    answer = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    roots = {name.partition(".")[0] for name in json.loads(answer.stdout)}
    assert not roots & {"tensorflow", "keras", "h5py", "localcloud", "demo", "typer", "rich"}


def test_each_function_of_the_design_is_there() -> None:
    tree = ast.parse((ROOT / "function_app.py").read_text())
    defined = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list
    }  # fmt: skip
    assert defined >= FUNCTIONS


def test_what_is_loaded_with_the_application_costs_no_collection_any_more() -> None:
    """A full collection would hold every request for as long as it looks through all modules: some 100,000 objects."""
    environment = {**os.environ, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    answer = subprocess.run(
        [sys.executable, "-c", FROZEN], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, env=environment
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    before, frozen, left = map(int, answer.stdout.split())
    assert before == 0
    assert frozen > 50_000
    assert left < frozen / 10
