"""Source models, their servables and the answers of both: each made once, by processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exporter import ExportOptions, VerifiedServable, export, scan, shutdown

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # trusted_layers is imported by that name, here and in the converting process
TESTDATA = HERE.parents[3] / "shared" / "tf_serving_testdata"
LABELS = ("zero", "one", "two")
OPTIONS = {
    "digits": ExportOptions(labels=LABELS, top=2),
    "two": ExportOptions(),
    "rescaling": ExportOptions(labels=LABELS),
    "logits": ExportOptions(labels=LABELS),
    "sigmoid": ExportOptions(labels=("no", "yes")),
    "words": ExportOptions(),
    "texts": ExportOptions(),
    "ragged": ExportOptions(),
    "sparse": ExportOptions(),
    "nested": ExportOptions(),
    "mean_1": ExportOptions(labels=("rest", "grey"), logits=False),
    "mean_3": ExportOptions(labels=("red", "green", "blue"), logits=False),
    "mean_4": ExportOptions(labels=("red", "green", "blue", "alpha"), logits=False),
}


def run_program(name: str, *arguments: str, given: str = "") -> str:
    environment = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [sys.executable, str(HERE / name), *arguments], input=given, capture_output=True, text=True, timeout=180,
        env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def mark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that a payload makes when it runs."""
    return tmp_path_factory.mktemp("mark") / "payload-ran"


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, mark: Path) -> Path:
    """A folder of NAME.keras files and SavedModel directories."""
    directory = tmp_path_factory.mktemp("sources")
    run_program("build_models.py", str(directory), str(mark))
    return directory


@pytest.fixture(scope="session", autouse=True)
def _worker_is_ended() -> Iterator[None]:
    yield
    shutdown()


@pytest.fixture(scope="session")
def servables(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, VerifiedServable]:
    """The Keras models as servables, by name."""
    directory = tmp_path_factory.mktemp("servables")
    return {
        name: export(scan(sources / f"{name}.keras", options), directory / name) for name, options in OPTIONS.items()
    }


@pytest.fixture(scope="session")
def answers(sources: Path, servables: dict[str, VerifiedServable]) -> dict[str, Any]:
    """What servables and sources answer to the golden requests, by TensorFlow's and Keras's own means."""
    questions = {
        name: {
            "source": None if name in ("ragged", "sparse") else str(sources / f"{name}.keras"),
            "servable": str(servable.directory),
            "requests": {golden.signature: golden.inputs for golden in servable.manifest.golden},
        }
        for name, servable in servables.items()
    }
    answered: dict[str, Any] = json.loads(run_program("ask_servables.py", given=json.dumps(questions)).splitlines()[-1])
    return answered
