"""``slipway export``: a verified servable and status 0, or a reason, another status and nothing left behind."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployer.cli import main
from exporter import Manifest
from tests.functional.exporter.test_conversions_are_bounded import LINUX, await_true, gone, server_of, with_layer_of

REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main(["export", *map(str, arguments)])
        printed = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def digits(sources: Path, tmp_path: Path) -> Path:
    """A model file with its options and labels beside it."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "Digits.labels.txt").write_text("zero\none\ntwo\n")
    (folder / "Digits.yaml").write_text("top: 2\nimage: {scaling: tf}\ngpus: 0\n")
    return Path(shutil.copyfile(sources / "digits.keras", folder / "Digits.keras"))


def test_the_folder_becomes_the_servable_with_what_lies_beside_the_model(
    run: Run, digits: Path, tmp_path: Path
) -> None:
    target = tmp_path / "deep" / "down" / "1"
    done = run(digits, target, "--json")
    assert (done.status, done.err) == (0, "")
    written = Manifest.read(target)
    assert written.labels == ("zero", "one", "two")
    assert written.image is not None
    assert (written.top, written.image.scaling) == (2, "tf")
    report = done.document
    assert (report.pop("directory"), len(report.pop("digest"))) == (str(target), 64)
    assert report == written.model_dump(mode="json", by_alias=True, exclude={"golden"})
    assert {"saved_model.pb", "variables", "assets", "servable.json"} <= {path.name for path in target.iterdir()}


def test_people_see_the_stages_and_what_came_of_them(run: Run, digits: Path, tmp_path: Path) -> None:
    shown = run(digits, tmp_path / "1").out.splitlines()
    assert [line.split()[:2] for line in shown[:6]] == [
        ["✓", stage] for stage in ("scan", "start", "load", "trace", "write", "verify")
    ]
    assert "serving_default: image float32[N, 8, 8, 1] → digit float32[N, 3]" in "\n".join(shown)
    assert "scaling tf" in "\n".join(shown)


def test_files_given_by_hand_go_before_those_beside_the_model(run: Run, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("null\neins\nzwei\n")
    (tmp_path / "other.yaml").write_text("top: 1\nlabels: [a, b, c]\n")
    done = run(
        digits, tmp_path / "1", "--labels", tmp_path / "other.txt", "--options", tmp_path / "other.yaml", "--json"
    )
    assert (done.document["labels"], done.document["top"]) == (["null", "eins", "zwei"], 1)
    assert done.document["image"]["scaling"] == "unit"


def test_labels_named_by_the_options_are_looked_for_beside_them(run: Run, digits: Path, tmp_path: Path) -> None:
    (digits.parent / "Digits.yaml").write_text("labels: classes.txt\n")
    (digits.parent / "classes.txt").write_text("nil\nuno\ndue\n")
    assert run(digits, tmp_path / "1", "--json").document["labels"] == ["nil", "uno", "due"]


@pytest.mark.parametrize(
    ("options", "labels", "code", "says"),
    [
        ("lables: x\n", "a\nb\nc\n", "bad_options", "Digits.yaml cannot be used: unknown lables"),
        ("top: many\n", "a\nb\nc\n", "bad_options", "top: "),
        ("image: {height: 8, depth: 3}\n", "a\nb\nc\n", "bad_options", "image.depth: "),
        ("image: {scaling: imagenet}\n", "a\nb\nc\n", "bad_options", "image.scaling: "),
        ("- top\n", "a\nb\nc\n", "bad_options", "holds a list"),
        ("labels: nowhere.txt\n", "a\nb\nc\n", "bad_labels", "there is no 'nowhere.txt'"),
        ("labels: ../labels.txt\n", "a\nb\nc\n", "bad_labels", "not a file beside or inside"),
        ("top: 2\n", "a\n\nc\n", "bad_labels", "'Digits.labels.txt', line 2, is blank"),
        ("top: 2\n", "a\nb\n", "label_count", "2 labels, and the model's output needs 3"),
    ],
)
def test_options_and_labels_that_do_not_fit_are_refused_with_their_place(
    run: Run, digits: Path, tmp_path: Path, options: str, labels: str, code: str, says: str
) -> None:
    (digits.parent / "Digits.yaml").write_text(options)
    (digits.parent / "Digits.labels.txt").write_text(labels)
    done = run(digits, tmp_path / "new" / "1", "--json")
    assert (done.status, done.document["error"]["code"]) == (1, code)
    assert says in done.document["error"]["message"]
    assert not (tmp_path / "new").exists()


def test_a_refused_model_leaves_nothing_and_its_findings_are_told(
    run: Run, sources: Path, mark: Path, tmp_path: Path
) -> None:
    done = run(sources / "payload.keras", tmp_path / "new" / "1", "--json")
    error = done.document["error"]
    assert (done.status, error["code"], error["stage"], error["permanent"]) == (1, "carries_code", "scan", True)
    assert any("Lambda" in found["where"] + found["what"] for found in error["findings"])
    assert not mark.exists()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("there", ["folder", "file"])
def test_what_is_at_the_destination_is_left_alone(run: Run, digits: Path, tmp_path: Path, there: str) -> None:
    target = tmp_path / "1"
    target.mkdir() if there == "folder" else target.write_text("mine")
    done = run(digits, target)
    assert (done.status, done.out) == (2, "")
    assert "exists already" in done.err
    assert list(target.iterdir()) == [] if there == "folder" else target.read_text() == "mine"


@pytest.mark.parametrize("missing", ["model", "labels", "options"])
def test_a_file_that_is_not_there_is_named(run: Run, digits: Path, tmp_path: Path, missing: str) -> None:
    nowhere = tmp_path / "nowhere"
    arguments = [nowhere] if missing == "model" else [digits, f"--{missing}", nowhere]
    done = run(*arguments, tmp_path / "1")
    assert done.status == 2
    assert "nowhere" in done.err


def test_a_destination_that_cannot_be_made_is_said(run: Run, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(digits, tmp_path / "file" / "1", "--json")
    assert (done.status, done.document["error"]["code"]) == (1, "file_system")


@LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind_and_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    model = with_layer_of(400, tmp_path).source.path
    with subprocess.Popen(
        [sys.executable, "-c", "from deployer.cli import main; main()", "export", model, tmp_path / "new" / "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY,
    ) as command:  # fmt: skip
        try:
            assert command.stdout is not None
            assert [command.stdout.readline().split()[1] for _ in range(2)] == ["scan", "start"]
            server = server_of(command.pid)
            command.send_signal(number)
            command.send_signal(signal.SIGINT)  # a second does not disturb the tidying up
            out, err = command.communicate(timeout=60)
        finally:
            command.kill()
    assert (command.returncode, "Traceback" in out + err) == (130, False), err
    await_true(lambda: gone(server))
    assert not (tmp_path / "new").exists()
