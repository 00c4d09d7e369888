"""SavedModels of several ages, as directory and zip, served unchanged."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from exporter import ConversionFailed, ExportOptions, Stage, Unsupported, VerifiedServable, export, scan

TESTDATA = Path(__file__).parents[4] / "shared" / "tf_serving_testdata"
ADDED = ("servable.json", "assets.extra/tf_serving_warmup_requests")
HALF_PLUS_TWO = TESTDATA / "saved_model_half_plus_two_cpu" / "00000123"

pytestmark = pytest.mark.skipif(
    not TESTDATA.exists(), reason="the models of TensorFlow Serving's own tests are not beside this repository"
)


def files(directory: Path) -> dict[str, bytes]:
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in ADDED}


def exported(source: Path, destination: Path) -> VerifiedServable:
    return export(scan(source, ExportOptions()), destination)


@pytest.mark.parametrize("name", sorted(path.name for path in TESTDATA.glob("saved_model_*") if path.is_dir()))
def test_every_model_of_tensorflow_servings_own_tests_is_repackaged_byte_for_byte(name: str, tmp_path: Path) -> None:
    (source, *_) = sorted((TESTDATA / name).iterdir())
    servable = exported(source, tmp_path / "1")
    assert files(servable.directory) == files(source)
    assert servable.manifest.source.format == "saved_model"


@pytest.mark.parametrize("root", ["", "model/"])
def test_a_zip_gives_the_same_servable_as_its_directory(root: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files(HALF_PLUS_TWO).items():
            archive.writestr(root + name, content)
        archive.writestr("readme.txt", b"not served")
    assert files(exported(tmp_path / "m.zip", tmp_path / "1").directory) == files(HALF_PLUS_TWO)


def test_golden_answers_are_what_the_models_name_says(tmp_path: Path) -> None:
    manifest = exported(HALF_PLUS_TWO, tmp_path / "1").manifest
    golden = {golden.signature: golden for golden in manifest.golden}["serving_default"]
    given: Any = golden.inputs["x"]
    answered: Any = golden.outputs["y"]
    assert answered == [[pytest.approx(x / 2 + 2) for x in row] for row in given]
    assert len(given) == 1
    assert manifest.signatures["regress_x_to_y"].method == "tensorflow/serving/regress"


def test_a_model_that_counts_its_calls_gets_no_golden_request(tmp_path: Path) -> None:
    manifest = exported(TESTDATA / "saved_model_counter" / "00000123", tmp_path / "1").manifest
    assert set(manifest.signatures) == {"get_counter", "incr_counter", "incr_counter_by", "reset_counter"}
    assert manifest.golden == []


def test_what_keras_exports_is_served_as_it_is(sources: Path, tmp_path: Path) -> None:
    manifest = exported(sources / "exported", tmp_path / "1").manifest
    assert list(manifest.signatures["serving_default"].outputs) == ["output_0"]
    assert [golden.signature for golden in manifest.golden] == ["serve", "serving_default"]


def test_a_saved_model_without_signatures_is_refused(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="no signature"):
        exported(sources / "no_signature", tmp_path / "1")


def test_a_saved_model_without_its_variables_does_not_load(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(
        HALF_PLUS_TWO, source, ignore=shutil.ignore_patterns("variables.data*"), copy_function=shutil.copyfile
    )
    with pytest.raises(ConversionFailed, match="could not load") as failed:
        exported(source, tmp_path / "out" / "1")
    assert failed.value.code == "does_not_load"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_saved_model_that_answers_only_until_it_is_optimized_is_refused_with_tensorflows_reason(
    sources: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ConversionFailed, match="'serving_default' does not answer: You must feed a value for"
    ) as failed:
        exported(sources / "unoptimizable", tmp_path / "1")
    assert (failed.value.code, failed.value.stage) == ("does_not_answer", Stage.VERIFY)
    assert not (tmp_path / "1").exists()


def test_a_folder_that_may_not_be_written_to_is_copied_like_any_other(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(HALF_PLUS_TWO, source, copy_function=shutil.copyfile)
    (source / "assets.extra").mkdir(exist_ok=True)
    (source / "assets.extra").chmod(0o555)
    try:
        assert ADDED[1] in exported(source, tmp_path / "1").manifest.files
    finally:
        (source / "assets.extra").chmod(0o755)
    assert (tmp_path / "1" / "assets.extra").stat().st_mode & 0o200


def test_a_servable_is_a_saved_model_like_any_other(servables: dict[str, VerifiedServable], tmp_path: Path) -> None:
    of_digits = servables["digits"]
    again = exported(of_digits.directory, tmp_path / "1")
    assert again.manifest.signatures == of_digits.manifest.signatures
    assert files(again.directory) == files(of_digits.directory)
