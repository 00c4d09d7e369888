"""Models of a few kilobytes that tell which upload they are of, and pods that run another model server for them."""

import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from localcloud.cloud import REPOSITORY

HALF = REPOSITORY.parent / "shared" / "tf_serving_testdata" / "saved_model_half_plus_two_cpu" / "00000123"
MARK = "assets/foo.txt"  # an asset of that SavedModel: its graph names it, and what is in it does not matter


def constant(value: float) -> bytes:
    """A ``.keras`` file whose only layer answers with this value, whatever it is asked; made without Keras."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        layer = file.create_group("layers/dense/vars")
        layer.attrs["name"] = "dense"
        layer.create_dataset("0", data=np.zeros((1, 1), "float32"))
        layer.create_dataset("1", data=np.array([value], "float32"))
        file.create_group("vars").attrs["name"] = "sequential"
    layers = [
        _layer("InputLayer", {"batch_shape": [None, 1], "dtype": "float32", "name": "x"}),
        _layer("Dense", {"units": 1, "activation": "linear", "name": "dense"})
        | {"build_config": {"input_shape": [None, 1]}},
    ]
    config = {"name": "sequential", "trainable": True, "layers": layers, "build_input_shape": [None, 1]}
    model = {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
    model["build_config"] = {"input_shape": [None, 1]}
    return _zip(
        {
            "metadata.json": json.dumps({"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}).encode(),
            "config.json": json.dumps(model).encode(),
            "model.weights.h5": weights.getvalue(),
        }
    )


def half_plus_two(mark: str) -> dict[str, bytes]:
    """The files of a SavedModel that answers x/2 + 2, by their paths; it carries this mark."""
    files = {path.relative_to(HALF).as_posix(): path.read_bytes() for path in HALF.rglob("*") if path.is_file()}
    return {**files, MARK: mark.encode()}


def zipped(mark: str) -> bytes:
    """The same as a zip archive."""
    return _zip(half_plus_two(mark))


def pods_run(program: str, folder: Path) -> list[str]:
    """Arguments of the AKS stand-in by which every pod runs this program, beside this file, as its model server."""
    server = [sys.executable, str(Path(__file__).with_name(program))]
    image = {
        "pattern": "tensorflow/serving:*", "entrypoint": server, "programs": {"tensorflow_model_server": server},
        "honours_mounts": True, "runs_as_root": True,
    }  # fmt: skip
    path = folder / "images.json"
    path.write_text(json.dumps([image]))
    return ["--images", str(path), "--mount-cache", "0.3"]


def _layer(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
