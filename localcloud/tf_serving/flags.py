"""The command line of ``tensorflow_model_server``, parsed as TensorFlow's own flag parser does. Pure.

Flags are ``--name=value``; a boolean may stand alone. Flags that only concern what this stand-in does not do (gRPC,
TFLite, XLA, TPU) are accepted so that a real deployment's arguments work unchanged.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

_T = TypeVar("_T", bool, int, float, str)
_FALSE, _TRUE = ("false", "0"), ("true", "1", "")
_INT32 = range(-(2**31), 2**31)


class UsageError(Exception):
    """The command line cannot be used; the message says which argument and why."""


def _flag(default: _T, text: str) -> _T:
    made: _T = field(default=default, metadata={"help": text})
    return made


@dataclass(frozen=True)
class Options:
    """Every flag under TensorFlow Serving's name, with its default. A time is in the unit that its name says."""

    port: int = _flag(8500, "TCP port of the gRPC API; accepted, not opened by this stand-in.")
    grpc_socket_path: str = _flag("", "UNIX socket of the gRPC API; accepted, not opened.")
    rest_api_port: int = _flag(0, "Port of the HTTP/REST API; 0: not exported. Must differ from --port.")
    rest_api_num_threads: int = _flag(4 * (os.cpu_count() or 1), "Threads that run REST requests.")
    rest_api_timeout_in_ms: int = _flag(30_000, "Time limit of one run of a model.")
    rest_api_enable_cors_support: bool = _flag(False, "CORS headers in responses.")
    enable_batching: bool = _flag(False, "Accepted; requests are run one by one.")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Allows a label for a version that is not available yet, if the label is not in use."
    )
    batching_parameters_file: str = _flag("", "Text BatchingParameters; read and checked, not applied.")
    enable_per_model_batching_parameters: bool = _flag(False, "Accepted, not applied.")
    model_config_file: str = _flag(
        "", "Text ModelServerConfig; --model_name and --model_base_path are ignored with it."
    )
    model_config_file_poll_wait_seconds: int = _flag(0, "Interval of reading it again; 0: read once.")
    model_name: str = _flag("default", "Name of the one model; ignored with --model_config_file.")
    model_base_path: str = _flag("", "Folder of its version folders; required without --model_config_file.")
    num_load_threads: int = _flag(0, "Models loaded at a time; 0 is taken as 1.")
    num_unload_threads: int = _flag(0, "Accepted, not applied.")
    max_num_load_retries: int = _flag(5, "Further attempts after a failed load.")
    load_retry_interval_micros: int = _flag(60_000_000, "Wait before each of them; negative: none.")
    file_system_poll_wait_seconds: int = _flag(1, "Interval of looking for versions; 0: once; negative: never.")
    flush_filesystem_caches: bool = _flag(True, "Accepted, not applied.")
    tensorflow_session_parallelism: int = _flag(0, "Both of the next two, where they are 0.")
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads within one operation; 0: TensorFlow's choice.")
    tensorflow_inter_op_parallelism: int = _flag(0, "Operations run at a time; 0: TensorFlow's choice.")
    tensorflow_session_config_file: str = _flag("", "Accepted, not applied.")
    use_alts_credentials: bool = _flag(False, "Accepted, not applied (gRPC).")
    ssl_config_file: str = _flag("", "Accepted, not applied (gRPC).")
    platform_config_file: str = _flag("", "Accepted, not applied.")
    per_process_gpu_memory_fraction: float = _flag(0.0, "Share of the GPU's memory taken; 0: TensorFlow's choice.")
    saved_model_tags: str = _flag("serve", "Comma-separated tags of the graph to load.")
    grpc_channel_arguments: str = _flag("", "Accepted, not applied (gRPC).")
    grpc_max_threads: int = _flag(4 * (os.cpu_count() or 1), "Accepted, not applied (gRPC).")
    enable_model_warmup: bool = _flag(True, "Replays assets.extra/tf_serving_warmup_requests when a model is loaded.")
    num_request_iterations_for_warmup: int = _flag(1, "Times that each warm-up request is replayed.")
    version: bool = _flag(False, "Prints the version and ends.")
    monitoring_config_file: str = _flag("", "Text MonitoringConfig; turns the Prometheus page on.")
    remove_unused_fields_from_bundle_metagraph: bool = _flag(True, "Accepted, not applied.")
    prefer_tflite_model: bool = _flag(False, "Accepted, not applied.")
    num_tflite_pools: int = _flag(1, "Accepted, not applied.")
    num_tflite_interpreters_per_pool: int = _flag(1, "Accepted, not applied.")
    enable_signature_method_name_check: bool = _flag(False, "Accepted, not applied.")
    xla_cpu_compilation_enabled: bool = _flag(False, "Accepted, not applied.")
    xla_gpu_compilation_enabled: bool = _flag(False, "Accepted, not applied.")
    enable_profiler: bool = _flag(True, "Accepted, not applied.")
    thread_pool_factory_config_file: str = _flag("", "Accepted, not applied.")
    mixed_precision: str = _flag("", "Accepted, not applied.")
    skip_initialize_tpu: bool = _flag(False, "Accepted, not applied.")
    enable_grpc_healthcheck_service: bool = _flag(False, "Accepted, not applied (gRPC).")
    enable_serialization_as_tensor_content: bool = _flag(False, "Accepted, not applied (gRPC).")


def parse(arguments: Sequence[str]) -> Options:
    """The options given by ``arguments`` (without the program's name).

    Raises:
        UsageError: an unknown flag, a value that does not fit, or neither a model nor a configuration to serve.
    """
    known = {flag.name: flag for flag in fields(Options)}
    given: dict[str, bool | int | float | str] = {}
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or name not in known:
            raise UsageError(f"unknown argument: {argument}")
        given[name] = _value(name, known[name].default, text, bare=not equals)
    options = Options(**given)  # type: ignore[arg-type]  # _value gives each the type of its default
    if not (options.version or options.model_config_file or options.model_base_path):
        raise UsageError("Either --model_base_path or --model_config_file must be set: there is nothing to serve.")
    if options.rest_api_port and options.rest_api_port == options.port:
        raise UsageError("--rest_api_port cannot be same as --port. Please use a different port for HTTP/REST API.")
    return options


def usage() -> str:
    """What every flag does."""
    lines = [f"\t--{flag.name}={flag.default!s:<28}\t{flag.metadata['help']}" for flag in fields(Options)]
    return "\n".join(["usage: python -m localcloud.tf_serving", "Flags:", *lines])


def _value(name: str, default: object, text: str, *, bare: bool) -> bool | int | float | str:
    refused = UsageError(f"Couldn't interpret value {text} for flag {name}.")
    match default:
        case bool():
            if text.lower() not in _TRUE + _FALSE or (text == "" and not bare):
                raise refused
            return text.lower() in _TRUE
        case _ if bare:
            raise UsageError(f"Flag {name} needs a value: --{name}=VALUE.")
        case int() | float():
            try:
                number = type(default)(text)
            except ValueError:
                raise refused from None
            if isinstance(number, int) and number not in _INT32:
                raise refused
            return number
        case _:
            return text
