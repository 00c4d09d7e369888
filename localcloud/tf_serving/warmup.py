"""Warm-up requests kept in a SavedModel: ``assets.extra/tf_serving_warmup_requests``. Pure reading, no TensorFlow.

The file is a TFRecord: per record a length (8 bytes), its checksum (4), the data, the data's checksum (4). TensorFlow
Serving replays at most 1,000 records, and a record that fails fails the load.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from localcloud.tf_serving import messages
from localcloud.tf_serving.errors import Code, ServingError, invalid

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
_MOST_RECORDS = 1000
_HEAD, _CHECKSUM = struct.Struct("<QI"), 4


@dataclass(frozen=True)
class WarmupRequest:
    """A recorded predict request; ``inputs`` are serialized ``TensorProto`` by alias."""

    signature: str
    inputs: Mapping[str, bytes]


def read(path: Path) -> list[WarmupRequest]:
    """The predict requests of a warm-up file; records of other kinds are left out.

    Raises:
        ServingError: DATA_LOSS for a truncated file, INVALID_ARGUMENT for what is no log record or too many of them.
    """
    records = _records(path.read_bytes())
    if len(records) > _MOST_RECORDS:
        raise invalid(f"Number of warmup records exceeds the maximum ({_MOST_RECORDS})")
    return [request for record in records if (request := _request(record)) is not None]


def _records(data: bytes) -> list[bytes]:
    records, at = [], 0
    while at < len(data):
        if at + _HEAD.size > len(data):
            raise ServingError(Code.DATA_LOSS, f"truncated record at {at}")
        length, _ = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        if start + length + _CHECKSUM > len(data):
            raise ServingError(Code.DATA_LOSS, f"truncated record at {at}")
        records.append(data[start : start + length])
        at = start + length + _CHECKSUM
    return records


def _request(record: bytes) -> WarmupRequest | None:
    log = messages.new("PredictionLog")
    try:
        log.ParseFromString(record)
    except DecodeError as error:
        raise invalid(f"Failed to parse warmup record: {error}") from error
    if not log.HasField("predict_log"):
        return None
    request = log.predict_log.request
    return WarmupRequest(request.model_spec.signature_name or "serving_default", dict(request.inputs))
