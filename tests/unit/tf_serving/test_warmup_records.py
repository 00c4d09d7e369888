"""Warm-up records: TFRecord framing and the PredictionLog fields that are used."""

import struct
from pathlib import Path

import pytest

from localcloud.tf_serving import messages, warmup
from localcloud.tf_serving.errors import Code, ServingError


def record(data: bytes) -> bytes:
    return struct.pack("<QI", len(data), 0) + data + b"\0\0\0\0"


def predict_log(signature: str, **inputs: bytes) -> bytes:
    log = messages.new("PredictionLog")
    log.predict_log.request.model_spec.signature_name = signature
    for alias, tensor in inputs.items():
        log.predict_log.request.inputs[alias] = tensor
    serialized: bytes = log.SerializeToString()
    return serialized


def test_predict_requests_are_read_and_others_left_out(tmp_path: Path) -> None:
    file = tmp_path / "requests"
    file.write_bytes(record(predict_log("s", x=b"tensor")) + record(b"") + record(predict_log("")))
    assert warmup.read(file) == [
        warmup.WarmupRequest("s", {"x": b"tensor"}),
        warmup.WarmupRequest("serving_default", {}),
    ]


def test_a_truncated_file_is_data_loss(tmp_path: Path) -> None:
    file = tmp_path / "requests"
    whole = record(predict_log("s"))
    for length in (5, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(ServingError, match="truncated record at 0") as caught:
            warmup.read(file)
        assert caught.value.code is Code.DATA_LOSS


def test_a_record_that_is_no_log_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "requests"
    file.write_bytes(record(b"\xff\xff\xff"))
    with pytest.raises(ServingError, match="Failed to parse warmup record"):
        warmup.read(file)


def test_more_than_a_thousand_records_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "requests"
    file.write_bytes(record(predict_log("s")) * 1001)
    with pytest.raises(ServingError, match="exceeds the maximum"):
        warmup.read(file)
