"""The benchmark from drop to answer: what it drops is another version each time, and what it counts as Slipway's own."""

import io
import json
import zipfile

import pytest

from benchmarks.drop_to_serve import Drop, dated


def model() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-07-01@12:00:00"}))
        archive.writestr("model.weights.h5", b"weights")
    return made.getvalue()


def test_a_model_of_another_date_is_other_bytes_and_else_the_same() -> None:
    first, second = dated(model(), 1), dated(model(), 2)
    assert first != second
    with zipfile.ZipFile(io.BytesIO(second)) as archive:
        assert archive.namelist() == ["metadata.json", "model.weights.h5"]
        assert archive.read("model.weights.h5") == b"weights"
        assert json.loads(archive.read("metadata.json")) == {
            "keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:02"
        }  # fmt: skip


def test_neither_the_conversion_nor_the_start_of_the_pod_is_slipways_own() -> None:
    drop = Drop(
        total=10.0, event=0.5, scan=0.2, convert=3.0, publish=0.2, apply=0.6, pod=4.5, switch=0.7, answer=0.3
    )  # fmt: skip
    assert drop.own == pytest.approx(2.5)
