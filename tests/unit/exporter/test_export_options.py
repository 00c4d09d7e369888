"""Options, labels, errors and the manifest: strict values, with the place of what is wrong in them."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from exporter import BadOptions, ExportError, ExportOptions, Manifest, Stage, VerifiedServable, errors
from exporter.job import Failed
from exporter.labels import parse
from exporter.worker import environment

MANIFEST = {
    "schema": 1,
    "source": {"name": "d.keras", "format": "keras", "sha256": "ab", "bytes": 3, "keras_version": None},
    "exporter": {"slipway": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1"},
    "signatures": {
        "serving_default": {
            "method": "tensorflow/serving/predict",
            "inputs": {"x": {"dtype": "float32", "shape": [None, 8]}},
            "outputs": {"y": {"dtype": "float32", "shape": None}},
        }
    },
    "image": {"height": 8, "width": 8, "channels": 1, "scaling": "unit", "logits": False, "inferred": ["scaling"]},
    "labels": ["zero", "one"],
    "top": 5,
    "golden": [{"signature": "s", "inputs": {"x": [[1.5]]}, "outputs": {"y": [["a"]]}, "rtol": 0.001, "atol": 1e-05}],
    "parity": {"max_abs_error": 0.0, "max_rel_error": 0.0, "batch_sizes": [1, 3], "rtol": 0.001, "atol": 1e-05},
    "files": {"saved_model.pb": {"sha256": "cd", "bytes": 7}},
    "bytes": 7,
    "timings": {"scan": 0.1},
    "sandbox": {"network": "none", "processes": "none", "files": "confined"},
    "identity": "d1",
}


def test_options_are_all_optional_and_five_classes_are_returned() -> None:
    options = ExportOptions()
    assert (options.labels, options.image, options.logits, options.top) == (None, None, None, 5)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"lables": "a.txt"}, "lables"),
        ({"top": 0}, "top"),
        ({"labels": []}, "labels"),
        ({"labels": ["a", ""]}, "labels"),
        ({"labels": ["a\nb"]}, "labels"),
        ({"image": {"height": 0}}, "image"),
        ({"image": {"scaling": "imagenet"}}, "image"),
        ({"image": {"depth": 3}}, "image"),
        ({"logits": "perhaps"}, "logits"),
    ],
)
def test_wrong_options_are_refused_with_their_place(given: dict[str, object], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ExportOptions.model_validate(given)
    assert refused.value.errors()[0]["loc"][0] == place


def test_a_label_file_is_one_name_a_line_with_blank_lines_at_the_end_ignored() -> None:
    assert parse("\ufeffkatze\r\nhund, groß\r\n\r\n".encode(), "l.txt") == ("katze", "hund, groß")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no labels"), (b"\n\n", "no labels"), (b"a\n\nb", "line 2"), (b"a\nb\x00", "line 2"), (b"\xff", "UTF-8")],
)
def test_a_label_file_that_is_none_is_refused_with_the_line(content: bytes, says: str) -> None:
    with pytest.raises(BadOptions, match=rf"(?s)'l\.txt'.*{says}"):
        parse(content, "l.txt")


@pytest.mark.parametrize("kind", ExportError.__subclasses__())
def test_every_error_has_a_code_of_its_own_and_reads_as_message_and_hint(kind: type[ExportError]) -> None:
    error = kind("What.", hint="Do.", stage=Stage.LOAD)
    others = {other.default_code for other in ExportError.__subclasses__() if other is not kind}
    assert error.code not in {*others, ExportError.default_code}
    assert str(error) == "What. Do."


@pytest.mark.parametrize(
    "error",
    [
        errors.BadOptions("a", hint="b", stage=Stage.TRACE, code="label_count"),
        errors.ParityFailed("a", hint="b", stage=Stage.VERIFY),
        errors.OutOfMemory("a", hint="b", stage=Stage.LOAD, permanent=False),
        errors.ConversionFailed("a", hint="b", stage=Stage.WRITE),
    ],
)
def test_an_error_is_the_same_in_the_calling_process(error: ExportError) -> None:
    same = Failed.model_validate_json(Failed.of(error).model_dump_json()).error_of_caller()
    assert type(same) is type(error)
    assert vars(same) == vars(error)


def test_a_manifest_is_written_and_read_as_it_is(tmp_path: Path) -> None:
    manifest = Manifest.model_validate(MANIFEST)
    manifest.write(tmp_path)
    assert json.loads((tmp_path / "servable.json").read_text()) == MANIFEST
    assert Manifest.read(tmp_path) == manifest


@pytest.mark.parametrize("change", [{"schema": 2}, {"extra": 1}, {"golden": None}])
def test_a_manifest_of_another_schema_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate(MANIFEST | change)


def test_a_verified_servable_cannot_be_made_without_verifying(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"exporter\.export"):
        VerifiedServable(tmp_path, Manifest.model_validate(MANIFEST), object())


def test_the_converting_process_sees_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_CLIENT_SECRET", "AzureWebJobsStorage", "IDENTITY_HEADER", "SLIPWAY_STORAGE__KEY", "HOME"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in "".join(environment().values())
