"""Warm-up requests: what TensorFlow Serving replays at each load, so that the first client does not wait for it.

They stand in ``assets.extra/tf_serving_warmup_requests``, a TFRecord of ``PredictionLog``. TensorFlow Serving takes at
most 1,000, and does not load a version of which one fails: so whatever stands there is replayed before it is published.
The numbers below are those of prediction_log.proto, predict.proto and model.proto.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message

from exporter.convert.reasons import reason
from exporter.convert.served import Arrays, Served
from exporter.errors import ConversionFailed, Stage
from exporter.messages import Messages

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
PREDICT = "tensorflow/serving/predict"
MOST_RECORDS = 1000

_FEW = 1024
"""Numbers in an input up to which they are recorded; of more, the first stands for all."""
_AT_ONCE = 2
_DEFAULT = "serving_default"
# message → (name, number, type, repeated); a map is a repeated message of a key and a value.
_MESSAGES = Messages(
    "slipway.warmup",
    {
        "PredictionLog": (("predict_log", 6, "PredictLog", False),),
        "PredictLog": (("request", 1, "PredictRequest", False),),
        "PredictRequest": (("model_spec", 1, "ModelSpec", False), ("inputs", 2, "InputEntry", True)),
        "ModelSpec": (("signature_name", 3, "string", False),),
        "InputEntry": (("key", 1, "string", False), ("value", 2, "bytes", False)),
    },
)


def write(directory: Path, requests: Mapping[str, Arrays]) -> None:
    """Writes a record for each signature by its name."""
    file = directory / FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in sorted(requests.items()):
            writer.write(_record(signature, inputs))


@dataclass(frozen=True)
class Replayed:
    """A recorded request and what was answered."""

    signature: str
    inputs: Arrays
    outputs: Arrays

    def asks(self, signature: str, inputs: Arrays) -> bool:
        """Whether it was this very request."""
        return self.signature == signature and all(
            np.array_equal(array, inputs[name]) for name, array in self.inputs.items()
        )


def replay(served: Served, directory: Path, on_answer: Callable[[Replayed], None] = lambda replayed: None) -> int:
    """Runs each recorded request as TensorFlow Serving will, two at a time; returns how many there are.

    Raises:
        ConversionFailed: the file is damaged or too long, or a request fails.
    """
    file = directory / FILE
    if not file.is_file():
        return 0
    count = 0
    try:
        records = tf.compat.v1.io.tf_record_iterator(str(file))
        with ThreadPoolExecutor(_AT_ONCE) as aside:
            while several := list(islice(records, _AT_ONCE)):
                for replayed in aside.map(partial(_replayed, served), several):
                    count += 1
                    if replayed is not None:
                        on_answer(replayed)
    except (tf.errors.OpError, message.DecodeError, ValueError, KeyError, TypeError) as error:
        raise _failed(f"record {count + 1} does not run ({reason(error)})") from error
    if count > MOST_RECORDS:
        raise _failed(f"there are {count} records, more than {MOST_RECORDS}")
    return count


def _replayed(served: Served, record: bytes) -> Replayed | None:
    log: Any = _MESSAGES["PredictionLog"].FromString(record)
    if not log.HasField("predict_log"):
        return None
    request = log.predict_log.request
    signature, inputs = request.model_spec.signature_name or _DEFAULT, _inputs(request)
    return Replayed(signature, inputs, served.run(signature, inputs))


def _record(signature: str, inputs: Arrays) -> bytes:
    log: Any = _MESSAGES["PredictionLog"]()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    for name, array in sorted(inputs.items()):
        request.inputs.add(key=name, value=_tensor(array).SerializeToString(deterministic=True))
    content: bytes = log.SerializeToString(deterministic=True)
    return content


def _tensor(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.kind in "OSU" or array.size <= _FEW:
        return tf.make_tensor_proto(array)
    # A TensorProto that holds fewer numbers than its shape has repeats the last: an image of 600 KB becomes one of 30 B.
    return tf.make_tensor_proto(array.ravel()[0], shape=array.shape)


def _inputs(request: Any) -> Arrays:
    tensor_of = tf.make_tensor_proto(0).__class__.FromString
    return {entry.key: tf.make_ndarray(tensor_of(entry.value)) for entry in request.inputs}


def _failed(how: str) -> ConversionFailed:
    return ConversionFailed(
        f"The warm-up requests in {FILE} would keep TensorFlow Serving from loading the model: {how}.",
        hint=f"Record them anew, or leave {FILE.name} out.",
        stage=Stage.VERIFY,
        code="warmup_fails",
    )
