"""The engine with what a servable of ours holds: image decoding, a hash table, several outputs, warm-up records.

The model is made by TensorFlow as a user would, in a process of its own, and served by the part of TensorFlow that the
engine imports.
"""

import base64
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.tf_serving.model_server import WAIT_SECONDS, ModelServer, model_server

MAKE_MODEL = r"""
import struct, sys, tensorflow as tf

class Shades(tf.Module):
    def __init__(self):
        self.names = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1], tf.int64), ["dark", "light"]), "?")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def classify_image(self, image_bytes):
        decode = lambda data: tf.reduce_mean(tf.cast(tf.io.decode_image(data, 1, expand_animations=False), tf.float32))
        light = tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32) / 255.0
        labels = self.names.lookup(tf.cast(light > 0.5, tf.int64))
        return {"labels": labels[:, None], "scores": light[:, None], "raw_bytes": image_bytes}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def slow(self, x):
        return {"y": tf.while_loop(lambda i, x: i < 200_000_000, lambda i, x: (i + 1, x * 1.0), (0, x))[1]}

model = Shades()
tf.saved_model.save(model, sys.argv[1], signatures={"classify_image": model.classify_image, "slow": model.slow})
"""


def png(shade: int) -> bytes:
    """A 2 by 2 grey PNG, by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([shade, shade])) * 2
    header = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "shades"
    subprocess.run(
        [sys.executable, "-c", MAKE_MODEL, str(folder / "1")], check=True, timeout=WAIT_SECONDS * 2, capture_output=True
    )
    return folder


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    log = tmp_path_factory.mktemp("server") / "log"
    with model_server(
        log, "--model_name=shades", f"--model_base_path={model}", "--rest_api_timeout_in_ms=1000",
        "--rest_api_enable_cors_support",
    ) as started:  # fmt: skip
        started.wait_for("shades", v1="AVAILABLE")
        yield started


def test_images_are_decoded_and_labels_looked_up(server: ModelServer) -> None:
    images = [png(255), png(0)]
    reply = server.post(
        "shades:predict",
        {"signature_name": "classify_image", "inputs": {"image_bytes": [b64(image) for image in images]}},
    )
    assert reply.json == {
        "outputs": {
            "labels": [["light"], ["dark"]],
            "scores": [[1.0], [0.0]],
            "raw_bytes": [b64(image) for image in images],
        }
    }
    rows = server.post("shades:predict", {"signature_name": "classify_image", "instances": [b64(png(0))]})
    assert rows.json == {"predictions": [{"labels": ["dark"], "scores": [0.0], "raw_bytes": b64(png(0))}]}


def test_an_image_that_is_none_is_a_bad_request(server: ModelServer) -> None:
    reply = server.post("shades:predict", {"signature_name": "classify_image", "instances": [b64(b"no image")]})
    assert reply.status == 400
    assert "Unknown image file format" in reply.error


def test_a_run_longer_than_the_limit_is_a_timeout_and_the_server_goes_on(server: ModelServer) -> None:
    reply = server.post("shades:predict", {"signature_name": "slow", "instances": [[1.0, 2.0]]})
    assert reply.status == 504
    assert server.get("shades/metadata").status == 200


def test_cors_headers_are_sent_when_asked_for(server: ModelServer) -> None:
    assert server.get("shades").headers["Access-Control-Allow-Origin"] == "*"
    assert server.request("OPTIONS", "/v1/models/shades:predict").status == 200


def test_a_warm_up_record_that_fails_fails_the_load(model: Path, tmp_path: Path) -> None:
    extra = model / "1" / "assets.extra"
    extra.mkdir()
    # PredictionLog.predict_log{6}.request{1}.model_spec{1}.signature_name{3}
    record = bytes.fromhex("3208 0a06 0a04 1a02".replace(" ", "")) + b"no"
    (extra / "tf_serving_warmup_requests").write_bytes(struct.pack("<QI", len(record), 0) + record + b"\0" * 4)
    try:
        with model_server(tmp_path / "log", f"--model_base_path={model}", "--max_num_load_retries=0") as server:
            assert server.process.wait(WAIT_SECONDS) == 255
            assert 'Serving signature key "no" not found.' in server.log.read_text()
        with model_server(tmp_path / "log", f"--model_base_path={model}", "--enable_model_warmup=false") as server:
            server.wait_for("default", v1="AVAILABLE")
    finally:
        (extra / "tf_serving_warmup_requests").unlink()
        extra.rmdir()
