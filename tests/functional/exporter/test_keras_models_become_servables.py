"""Real Keras files through the real converting process, checked against Keras and TensorFlow themselves."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter import ExportOptions, Manifest, Scaling, Stage, VerifiedServable, export, scan
from exporter.manifest import Signature
from tests.functional.exporter.conftest import OPTIONS

Servables = dict[str, VerifiedServable]


def shape_of(signature: Signature) -> tuple[dict[str, Any], dict[str, Any]]:
    inputs = {name: (spec.dtype, spec.shape) for name, spec in signature.inputs.items()}
    return inputs, {name: (spec.dtype, spec.shape) for name, spec in signature.outputs.items()}


def test_a_classifier_gets_both_signatures_under_its_own_names_with_an_open_batch(servables: Servables) -> None:
    signatures = servables["digits"].manifest.signatures
    assert shape_of(signatures["serving_default"]) == (
        {"image": ("float32", [None, 8, 8, 1])},
        {"digit": ("float32", [None, 3])},
    )
    assert shape_of(signatures["classify_image"]) == (
        {"image_bytes": ("string", [None])},
        {"labels": ("string", [None, 2]), "scores": ("float32", [None, 2])},
    )
    assert {signature.method for signature in signatures.values()} == {"tensorflow/serving/predict"}


def test_several_inputs_and_outputs_keep_their_names(servables: Servables) -> None:
    signatures = servables["two"].manifest.signatures
    assert list(signatures) == ["serving_default"]
    assert shape_of(signatures["serving_default"]) == (
        {"left": ("float32", [None, 4]), "right": ("float32", [None, 2, 3])},
        {"score": ("float32", [None, 1]), "add": ("float32", [None, 2])},
    )


@pytest.mark.parametrize("name", ["digits", "two", "rescaling", "logits", "sigmoid", "words"])
def test_servable_and_source_answer_alike_when_asked_by_other_means(
    servables: Servables, answers: dict[str, Any], name: str
) -> None:
    golden = {golden.signature: golden for golden in servables[name].manifest.golden}["serving_default"]
    served = answers[name]["servable"]["serving_default"]
    recorded: dict[str, Any] = dict(golden.outputs)
    assert set(recorded) == set(served)
    for output, rows in recorded.items():
        assert served[output] == [pytest.approx(row, rel=1e-4, abs=1e-6) for row in rows]
    # The source's outputs are in its own order, the servable's in that of their names.
    by_source = sorted(json.dumps([[round(x, 4) for x in row] for row in rows]) for rows in answers[name]["source"])
    by_servable = sorted(json.dumps([[round(x, 4) for x in row] for row in rows]) for rows in served.values())
    assert by_source == by_servable


@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_model_server_which_optimizes_graphs_answers_the_golden_requests(
    servables: Servables, answers: dict[str, Any], name: str
) -> None:
    goldens = servables[name].manifest.golden
    assert {golden.signature for golden in goldens} == servables[name].manifest.signatures.keys()
    for golden in goldens:
        by_server = answers[name]["server"][golden.signature]
        for output, wanted in golden.outputs.items():
            found, recorded = np.asarray(by_server[output]), np.asarray(wanted)
            same = np.array_equal if found.dtype.kind == "U" else partial(np.allclose, rtol=1e-4, atol=1e-6)
            assert same(found, recorded), (golden.signature, output)


@pytest.mark.parametrize(("name", "classes"), [("digits", 2), ("rescaling", 3), ("logits", 3), ("sigmoid", 2)])
def test_classify_image_names_classes_by_falling_probability(
    servables: Servables, answers: dict[str, Any], name: str, classes: int
) -> None:
    manifest = servables[name].manifest
    golden = {golden.signature: golden for golden in manifest.golden}["classify_image"]
    served = answers[name]["servable"]["classify_image"]
    (labels,), (scores,) = served["labels"], served["scores"]
    assert (len(labels), len(set(labels)), len(scores)) == (classes, classes, classes)
    assert set(labels) <= set(manifest.labels or ())
    assert scores == sorted(scores, reverse=True)
    if classes == len(manifest.labels or ()):
        assert sum(scores) == pytest.approx(1.0, abs=1e-5)
    recorded: dict[str, Any] = dict(golden.outputs)
    assert recorded["scores"] == [pytest.approx(scores, rel=1e-4, abs=1e-6)]
    assert recorded.get("labels", [labels]) == [labels]


@pytest.mark.parametrize(
    ("name", "scaling", "logits", "channels"),
    [
        ("digits", "unit", False, 1),
        ("rescaling", "none", False, 3),
        ("logits", "unit", True, 3),
        ("sigmoid", "unit", False, 3),
    ],
)
def test_what_a_model_wants_of_an_image_is_inferred_and_said_to_be(
    servables: Servables, name: str, scaling: str, logits: bool, channels: int
) -> None:
    image = servables[name].manifest.image
    assert image is not None
    assert image.model_dump() == {
        "height": 8, "width": 8, "channels": channels, "scaling": Scaling(scaling), "logits": logits,
        "inferred": ["height", "width", "scaling", "logits"],
    }  # fmt: skip


def test_options_come_before_inference(sources: Path, tmp_path: Path) -> None:
    options = ExportOptions.model_validate(
        {"labels": ["a", "b", "c"], "image": {"scaling": "caffe", "height": 8}, "logits": False, "top": 1}
    )
    manifest = export(scan(sources / "logits.keras", options), tmp_path / "1").manifest
    assert manifest.image is not None
    assert (manifest.image.scaling, manifest.image.logits, manifest.image.inferred) == (Scaling.CAFFE, False, ["width"])
    assert manifest.signatures["classify_image"].outputs["labels"].shape == [None, 1]


def test_each_weight_is_stored_once(sources: Path, servables: Servables) -> None:
    parameters = json.loads((sources / "parameters.json").read_text())
    for name in ("digits", "two"):
        data = servables[name].manifest.files["variables/variables.data-00000-of-00001"].bytes
        weights = 4 * parameters[name]
        assert weights <= data < weights + 2000, name  # beside the weights: the graph of objects, of about a kilobyte


def test_the_manifest_describes_every_file_as_it_is_on_disk(servables: Servables) -> None:
    servable = servables["digits"]
    on_disk = {
        path.relative_to(servable.directory).as_posix(): path.read_bytes()
        for path in servable.directory.rglob("*")
        if path.is_file() and path.name != "servable.json"
    }
    assert {name: (file.sha256, file.bytes) for name, file in servable.manifest.files.items()} == {
        name: (hashlib.sha256(content).hexdigest(), len(content)) for name, content in on_disk.items()
    }
    assert servable.manifest.bytes == sum(map(len, on_disk.values()))
    assert Manifest.read(servable.directory) == servable.manifest
    assert on_disk["assets/labels.txt"] == b"zero\none\ntwo\n"


def test_the_manifest_tells_source_parity_and_time(sources: Path, servables: Servables) -> None:
    manifest = servables["digits"].manifest
    content = (sources / "digits.keras").read_bytes()
    assert manifest.source.model_dump(exclude={"keras_version"}) == {
        "name": "digits.keras", "format": "keras", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content),
    }  # fmt: skip
    assert manifest.source.keras_version == manifest.exporter.keras
    assert (manifest.parity.batch_sizes, manifest.parity.max_abs_error < 1e-5) == ([1, 2], True)
    assert set(manifest.timings) == {"scan", "load", "trace", "write", "verify"}


def test_the_stages_are_told_in_order_in_the_calling_thread(sources: Path, tmp_path: Path) -> None:
    stages: list[Stage] = []
    export(scan(sources / "two.keras", ExportOptions()), tmp_path / "new" / "1", on_stage=stages.append)
    assert stages == [Stage.LOAD, Stage.TRACE, Stage.WRITE, Stage.VERIFY]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["1"]
