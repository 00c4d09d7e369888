"""Warm-up requests: read and replayed by the model server's own reader and engine, not by what wrote them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporter import ConversionFailed, ExportOptions, VerifiedServable, export, scan
from localcloud.tf_serving import warmup

Servables = dict[str, VerifiedServable]
TESTDATA = Path(__file__).parents[4] / "shared" / "tf_serving_testdata"
REPLAY = """
import json, sys
from pathlib import Path
from localcloud.tf_serving.engine import EngineOptions, SessionServable, inference
replayed = {}
run = inference.run
for directory in sys.argv[1:]:
    asked = replayed[directory] = []
    inference.run = lambda servable, signature, inputs: (asked.append(sorted(inputs)), run(servable, signature, inputs))[1]
    SessionServable(Path(directory), EngineOptions()).close()
print(json.dumps(replayed))
"""


def replayed(*directories: Path) -> list[list[list[str]]]:
    """The input names of each warm-up request that the model server ran as it loaded the servables."""
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, *directories], capture_output=True, text=True, timeout=120, check=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    return list(json.loads(done.stdout.splitlines()[-1]).values())


def test_each_signature_has_one_small_request(servables: Servables) -> None:
    found = {
        name: [(request.signature, sorted(request.inputs)) for request in warmup.read(servable.directory / warmup.FILE)]
        for name, servable in servables.items()
    }
    assert found["digits"] == [("classify_image", ["image_bytes"]), ("serving_default", ["image"])]
    assert found["two"] == [("serving_default", ["left", "right"])]
    assert found["words"] == [("serving_default", ["word"])]
    assert all((servable.directory / warmup.FILE).stat().st_size < 10_000 for servable in servables.values())


def test_the_model_server_runs_them_as_it_loads(servables: Servables) -> None:
    digits, words = replayed(servables["digits"].directory, servables["words"].directory)
    assert digits == [["image_bytes"], ["image"]]
    assert words == [["word"]]


def test_they_are_files_of_the_servable_like_any_other(servables: Servables) -> None:
    assert str(warmup.FILE) in servables["two"].manifest.files


@pytest.fixture
def half_plus_two(tmp_path: Path) -> Path:
    if not TESTDATA.exists():
        pytest.skip("the models of TensorFlow Serving's own tests are not beside this repository")
    copy = tmp_path / "half_plus_two"
    shutil.copytree(
        TESTDATA / "saved_model_half_plus_two_cpu" / "00000123", copy, copy_function=shutil.copyfile
    )  # fmt: skip
    return copy


def test_a_saved_model_gets_requests_for_what_it_predicts(half_plus_two: Path, tmp_path: Path) -> None:
    servable = export(scan(half_plus_two, ExportOptions()), tmp_path / "1")
    assert [request.signature for request in warmup.read(servable.directory / warmup.FILE)] == ["serving_default"]


def test_a_saved_model_keeps_the_requests_that_it_has(
    half_plus_two: Path, servables: Servables, tmp_path: Path
) -> None:
    own = tmp_path / "1" / warmup.FILE
    with_own = half_plus_two / warmup.FILE
    with_own.parent.mkdir(exist_ok=True)
    with_own.write_bytes(b"")
    export(scan(half_plus_two, ExportOptions()), tmp_path / "1")
    assert own.read_bytes() == b""


@pytest.mark.parametrize("damage", ["another model's", "cut short"])
def test_requests_that_would_keep_the_model_from_loading_are_refused(
    half_plus_two: Path, servables: Servables, tmp_path: Path, damage: str
) -> None:
    foreign = (servables["two"].directory / warmup.FILE).read_bytes()
    with_own = half_plus_two / warmup.FILE
    with_own.parent.mkdir(exist_ok=True)
    with_own.write_bytes(foreign if damage == "another model's" else foreign[:-3])
    with pytest.raises(ConversionFailed, match=r"record .* does not run") as refused:
        export(scan(half_plus_two, ExportOptions()), tmp_path / "out" / "1")
    assert refused.value.code == "warmup_fails"
    assert list((tmp_path / "out").iterdir()) == []
