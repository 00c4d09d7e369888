"""The few protobuf messages of TensorFlow Serving that this server reads or writes. Pure.

No package on the registry carries them without the rest of the server, so their published field names and numbers stand
here, in a descriptor pool of their own (TensorFlow registers some of the same names in the shared one).
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import Message

from localcloud.tf_serving.errors import invalid

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "bool": _Field.TYPE_BOOL,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
}
# message → field → (number, type); "*" marks a repeated field, "map:" a map from string.
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    # model_server_config.proto, file_system_storage_path_source.proto, logging_config.proto
    "ModelServerConfig": {"model_config_list": (1, "ModelConfigList")},
    "ModelConfigList": {"config": (1, "*ModelConfig")},
    "ModelConfig": {
        "name": (1, "string"),
        "base_path": (2, "string"),
        "model_platform": (4, "string"),
        "logging_config": (6, "LoggingConfig"),
        "model_version_policy": (7, "ServableVersionPolicy"),
        "version_labels": (8, "map:int64"),
    },
    "ServableVersionPolicy": {
        "latest": (100, "Latest"),
        "all": (101, "All"),
        "specific": (102, "Specific"),
        "latest_once": (103, "Latest"),
    },
    "Latest": {"num_versions": (1, "uint32")},
    "All": {},
    "Specific": {"versions": (1, "*int64")},
    "LoggingConfig": {"log_collector_config": (1, "LogCollectorConfig"), "sampling_config": (2, "SamplingConfig")},
    "LogCollectorConfig": {"type": (1, "string"), "filename_prefix": (2, "string")},
    "SamplingConfig": {"sampling_rate": (1, "double")},
    # monitoring_config.proto
    "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    # session_bundle_config.proto
    "BatchingParameters": {
        "max_batch_size": (1, "Int64Value"),
        "batch_timeout_micros": (2, "Int64Value"),
        "max_enqueued_batches": (3, "Int64Value"),
        "num_batch_threads": (4, "Int64Value"),
        "thread_pool_name": (5, "StringValue"),
        "allowed_batch_sizes": (6, "*int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, "BoolValue"),
    },
    "Int64Value": {"value": (1, "int64")},
    "StringValue": {"value": (1, "string")},
    "BoolValue": {"value": (1, "bool")},
    # example.proto, feature.proto
    "Example": {"features": (1, "Features")},
    "Features": {"feature": (1, "map:Feature")},
    "Feature": {"bytes_list": (1, "BytesList"), "float_list": (2, "FloatList"), "int64_list": (3, "Int64List")},
    "BytesList": {"value": (1, "*bytes")},
    "FloatList": {"value": (1, "*float")},
    "Int64List": {"value": (1, "*int64")},
    # prediction_log.proto, predict.proto, model.proto: a TensorProto is kept as its bytes
    "PredictionLog": {"predict_log": (6, "PredictLog")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "map:bytes")},
    "ModelSpec": {"name": (1, "string"), "signature_name": (3, "string")},
}
_PACKAGE = "localcloud.tf_serving"


def new(name: str) -> Any:
    """An empty message of the table."""
    return _CLASSES[name]()


def from_text(name: str, text: str, *, source: str) -> Any:
    """The message that a text file holds.

    Raises:
        ServingError: INVALID_ARGUMENT, with TensorFlow Serving's message and the place of the mistake.
    """
    message = new(name)
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise invalid(f"Invalid protobuf file: '{source}' ({name}, line:column {error})") from error
    return message


def _field(owner: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    field = owner.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.startswith(("*", "map:")):
        field.label = _Field.LABEL_REPEATED
    if kind.startswith("map:"):
        entry = owner.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _field(entry, "key", 1, "string")
        _field(entry, "value", 2, kind.removeprefix("map:"))
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{owner.name}.{entry.name}"
        return
    kind = kind.removeprefix("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


def _classes() -> dict[str, type[Message]]:
    file = descriptor_pb2.FileDescriptorProto(name="localcloud/tf_serving.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        owner = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _field(owner, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }


_CLASSES = _classes()
