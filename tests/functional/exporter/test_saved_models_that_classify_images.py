"""SavedModels with labels get ``classify_image`` around their own graph, whatever wrote them; others are told why not."""

import base64
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployer.cli import main
from exporter import BadOptions, ConversionFailed, ExportOptions, Manifest, VerifiedServable, export, scan
from tests.functional.exporter import image_files
from tests.functional.exporter.conftest import TESTDATA, run_program

COLOURS = ("red", "green", "blue")
AS_IT_IS = ExportOptions.model_validate({"labels": COLOURS, "image": {"scaling": "none"}, "logits": False})
OPTIONS = {
    "of_keras": AS_IT_IS,
    "of_tensorflow_1": AS_IT_IS,
    "of_tensorflow_1_0": AS_IT_IS,
    "of_computed": AS_IT_IS,
    "of_any_size": ExportOptions.model_validate(
        {"labels": ("no", "yes"), "image": {"scaling": "unit", "height": 6, "width": 9}, "top": 1}
    ),
}
MEANS = sorted(OPTIONS.keys() - {"of_any_size"})
WARM_UPS = Path("assets.extra") / "tf_serving_warmup_requests"


def solid(*channels: int) -> bytes:
    return image_files.png(np.full((5, 7, len(channels)), channels, dtype=np.uint8))


NOISE = np.random.default_rng(8).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifiers")
    run_program("build_classifiers.py", str(folder))
    return folder


@pytest.fixture(scope="module")
def exported(classifiers: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, VerifiedServable]:
    folder = tmp_path_factory.mktemp("exported")
    return {name: export(scan(classifiers / name, options), folder / name) for name, options in OPTIONS.items()}


@pytest.fixture(scope="module")
def asked(exported: dict[str, VerifiedServable]) -> dict[str, list[dict[str, Any]]]:
    """What the model server answers: about two images in one request, then about three of which the second is none."""
    requests = [[solid(200, 100, 50), image_files.png(NOISE)], [solid(9), b"no image", solid(9)]]
    encoded = [[base64.b64encode(image).decode() for image in request] for request in requests]
    questions = {name: {"servable": str(made.directory), "requests": encoded} for name, made in exported.items()}
    answered: dict[str, Any] = json.loads(run_program("ask_images.py", given=json.dumps(questions)).splitlines()[-1])
    return answered


@pytest.mark.parametrize("name", MEANS)
def test_image_files_are_classified_by_models_of_every_age(asked: dict[str, list[dict[str, Any]]], name: str) -> None:
    answer = asked[name][0]
    assert answer["labels"][0] == ["red", "green", "blue"]
    assert answer["scores"][0] == pytest.approx([200.0, 100.0, 50.0])
    means = dict(zip(COLOURS, NOISE.mean((0, 1)), strict=True))
    assert dict(zip(answer["labels"][1], answer["scores"][1], strict=True)) == pytest.approx(means, rel=1e-5)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_an_image_that_cannot_be_decoded_is_named_by_its_place(
    asked: dict[str, list[dict[str, Any]]], name: str
) -> None:
    assert "undecodable_image_1/" in asked[name][1]["error"]


def test_a_model_for_images_of_any_size_gets_those_of_the_options(exported: dict[str, VerifiedServable]) -> None:
    made = exported["of_any_size"].manifest
    assert made.image is not None
    assert (made.image.height, made.image.width, made.image.channels) == (6, 9, 1)
    assert made.image.inferred == ["logits"]
    assert not made.image.logits
    assert made.signatures["classify_image"].outputs["labels"].shape == [None, 1]
    assert made.signatures["serving_default"].inputs["keras_tensor_2"].shape == [None, None, None, 1]


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_its_own_signatures_and_weights_are_as_they_were(
    exported: dict[str, VerifiedServable], classifiers: Path, tmp_path: Path, name: str
) -> None:
    made = exported[name]
    plain = export(scan(classifiers / name, ExportOptions()), tmp_path / "1")
    own = {key: value for key, value in made.manifest.signatures.items() if key != "classify_image"}
    assert own == plain.manifest.signatures
    for file, digest in plain.manifest.files.items():
        if file.startswith(("variables/", "assets/")):
            assert made.manifest.files[file] == digest
    more = made.manifest.files.keys() - plain.manifest.files.keys()
    assert more == {"assets/labels.txt"}
    images_of_any_size_are_long = name == "of_any_size"
    numbers = [golden for golden in made.manifest.golden if golden.signature != "classify_image"]
    assert numbers == ([] if images_of_any_size_are_long else plain.manifest.golden)


@pytest.mark.parametrize("name", MEANS)
def test_it_gets_a_golden_image_and_a_warm_up_request(exported: dict[str, VerifiedServable], name: str) -> None:
    made = exported[name]
    golden = {golden.signature: golden for golden in made.manifest.golden}["classify_image"]
    images: Any = golden.inputs["image_bytes"]
    assert [base64.b64decode(image["b64"])[:4] for image in images] == [b"\x89PNG"]
    assert {"scores"} <= golden.outputs.keys() <= {"scores", "labels"}
    assert b"classify_image" in (made.directory / WARM_UPS).read_bytes()
    assert made.manifest.parity.max_abs_error < 1e-3


def test_words_of_a_table_are_asked_for_by_the_golden_request(exported: dict[str, VerifiedServable]) -> None:
    for name in ("of_tensorflow_1", "of_tensorflow_1_0"):
        golden = {golden.signature: golden for golden in exported[name].manifest.golden}["words"]
        assert (golden.inputs, golden.outputs) == ({"word": [{"b64": "bm9uZQ=="}]}, {"place": [0]})


def test_what_was_made_is_scanned_and_served_as_any_other_saved_model(
    exported: dict[str, VerifiedServable], tmp_path: Path
) -> None:
    for name, made in exported.items():
        again = export(scan(made.directory, ExportOptions()), tmp_path / name)
        assert again.manifest.signatures == made.manifest.signatures
        with pytest.raises(BadOptions, match="signature 'classify_image' of its own"):
            export(scan(made.directory, OPTIONS[name]), tmp_path / "never")


def test_warm_up_requests_that_came_with_it_stay(classifiers: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(classifiers / "of_keras", source)
    own = (export(scan(source, ExportOptions()), tmp_path / "1").directory / WARM_UPS).read_bytes()
    (source / WARM_UPS).parent.mkdir()
    (source / WARM_UPS).write_bytes(own)
    made = export(scan(source, AS_IT_IS), tmp_path / "2").directory
    assert records((made / WARM_UPS).read_bytes()) == records(own) + 1
    assert (made / WARM_UPS).read_bytes().endswith(own)
    assert [path.name for path in (made / "assets.extra").iterdir()] == [WARM_UPS.name]


def records(content: bytes) -> int:
    """How many records a TFRecord file has: each is a length of eight bytes, a checksum, the content, a checksum."""
    count = at = 0
    while at < len(content):
        at += 16 + struct.unpack_from("<Q", content, at)[0]
        count += 1
    return count


def test_an_asset_of_the_models_own_that_is_named_like_the_labels_stays(classifiers: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(classifiers / "of_keras", source)
    (source / "assets").mkdir(exist_ok=True)
    (source / "assets" / "labels.txt").write_text("its own")
    made = export(scan(source, AS_IT_IS), tmp_path / "1").directory
    assert (made / "assets" / "labels.txt").read_text() == "its own"
    assert (made / "assets" / "labels_1.txt").read_text() == "red\ngreen\nblue\n"


@pytest.mark.parametrize(
    ("name", "given", "code", "why"),
    [
        ("of_keras", {"image": None}, "image_scaling", "image.scaling has to be given"),
        ("of_keras", {"labels": ("red", "green")}, "label_count", "2 labels, and the model's output needs 3"),
        ("of_keras", {"image": {"scaling": "none", "height": 9}}, "image_size", "takes 8 pixels, not 9"),
        ("of_any_size", {}, "image_size", "image.height and image.width have to be given"),
        ("of_any_size", {"image": {"scaling": "tf", "height": 1, "width": 1}}, "no_image_classifier", "1 by 1 pixels"),
        ("of_vectors", {}, "no_image_classifier", r"float32 of shape \(None, 6\)"),
        ("of_bytes", {}, "no_image_classifier", r"uint8 of shape \(None, 8, 8, 3\)"),
        ("of_two_channels", {}, "no_image_classifier", "no 1, 3 or 4 channels"),
        ("of_one_image", {}, "no_image_classifier", "batch size is fixed to 1"),
        ("to_images", {}, "no_image_classifier", r"float32 of shape \(1, 6, 6, 2\)"),
    ],
)
def test_what_cannot_classify_images_is_told_why(
    classifiers: Path, tmp_path: Path, name: str, given: dict[str, object], code: str, why: str
) -> None:
    options = AS_IT_IS.model_dump(exclude={"labels"} if "labels" in given else None) | given
    with pytest.raises(BadOptions, match=why) as refused:
        export(scan(classifiers / name, ExportOptions.model_validate(options)), tmp_path / "out" / "1")
    assert refused.value.code == code
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("saved_model_counter/00000123", "no signature 'serving_default', only get_counter"),
        ("saved_model_half_plus_two_cpu/00000123", r"float32 of shape \(None, 1\)"),
    ],
)
def test_labels_for_a_model_of_numbers_are_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(BadOptions, match=why) as refused:
        export(scan(TESTDATA / name, AS_IT_IS), tmp_path / "1")
    assert refused.value.code == "no_image_classifier"


def test_a_saved_model_that_answers_nothing_but_nan_is_refused(classifiers: Path, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed, match="nothing but NaN") as refused:
        export(scan(classifiers / "not_numbers", ExportOptions()), tmp_path / "1")
    assert refused.value.code == "answers_nan"


def test_the_command_takes_labels_and_options_from_beside_the_folder(
    classifiers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "colours"
    shutil.copytree(classifiers / "of_tensorflow_1", source)
    (tmp_path / "colours.labels.txt").write_text("\n".join(COLOURS))
    (tmp_path / "colours.yaml").write_text("image: {scaling: none}\nlogits: false\ntop: 2\n")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(source), str(tmp_path / "1"), "--json"])
    assert ended.value.code in (0, None), capsys.readouterr().err
    manifest = Manifest.read(tmp_path / "1")
    assert manifest.signatures["classify_image"].outputs["scores"].shape == [None, 2]
    assert manifest.labels == COLOURS


def test_names_that_are_taken_already_are_left_to_whom_they_belong(
    exported: dict[str, VerifiedServable], tmp_path: Path
) -> None:
    """A servable of ours whose signature was taken out again has nodes, functions, a table and an asset of these names."""
    source = tmp_path / "source"
    shutil.copytree(exported["of_tensorflow_1"].directory, source)
    run_program("drop_signature.py", str(source / "saved_model.pb"), "classify_image")
    made = export(scan(source, AS_IT_IS), tmp_path / "1")
    assert {"assets/labels.txt", "assets/labels_1.txt"} <= made.manifest.files.keys()
    assert made.manifest.signatures.keys() == exported["of_tensorflow_1"].manifest.signatures.keys()
