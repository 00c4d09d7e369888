"""Files with payloads that a careless load was seen to run: refused, with the place, and without the payload's mark."""

from pathlib import Path

import pytest

from exporter import ExportError, ExportOptions, export, scan
from tests.functional.exporter.conftest import run_program
from tests.functional.exporter.test_every_format_becomes_a_servable import packed


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    run_program("build_older_models.py", str(folder))
    return folder


REFUSALS = {
    "lambda_2.h5": ("carries_code", "a Lambda layer carries Python code"),
    "lambda_2.keras": ("carries_code", "a Lambda layer carries Python code"),
    "lambda_in_lambda.h5": ("carries_code", "config.layer.config.layers[1]"),
    "call_by_name.h5": ("unknown_class", "tf.io.gfile.makedirs"),
    "pickled.h5": ("unsupported", "is a pickle"),
    "python_function": ("unsafe_operation", "PyFunc calls Python code"),
    "write_file": ("unsafe_operation", "WriteFile writes files"),
    "save_to_path": ("unsafe_operation", "SaveV2 reads or writes files"),
}


def refusal(source: Path, destination: Path) -> ExportError:
    with pytest.raises(ExportError) as refused:
        export(scan(source, ExportOptions()), destination)
    assert refused.value.permanent
    assert refused.value.stage == "scan"
    assert not destination.exists()
    return refused.value


@pytest.mark.parametrize("name", sorted(REFUSALS))
@pytest.mark.parametrize("archive", [None, "m.zip", "m.tgz"])
def test_a_payload_is_refused_before_it_runs(hostile: Path, tmp_path: Path, name: str, archive: str | None) -> None:
    source = hostile / "hostile" / name
    given = source if archive is None else packed(source, tmp_path / archive, "folder/")
    code, says = REFUSALS[name]
    refused = refusal(given, tmp_path / "1")
    assert (refused.code, says in str(refused)) == (code, True)
    assert not (hostile / "mark").exists()
    assert not list(hostile.glob("mark*"))
