"""What a version and the settings make of a pod of TensorFlow Serving: its files, flags, resources and probes. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from deployer.record import VersionRecord
from deployer.settings import ServingSettings

GPU = "nvidia.com/gpu"

_MIB, _GIB = 2.0**20, 2.0**30
_UNITS = {
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": _MIB,
    "Gi": _GIB,
    "Ti": 2.0**40,
}
_LARGEST_BATCH = 32
_BATCHING_FLAGS = ("--enable_batching", "--batching_parameters_file")

Manifest = dict[str, Any]


def configuration(serving: ServingSettings, model: str, version: VersionRecord) -> dict[str, str]:
    """The files of the version's ConfigMap that are its own."""
    files = {
        "models.config": "model_config_list {\n  config {\n"
        f'    name: "{model}"\n    base_path: "/models/{model}"\n    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ versions: {version.version} }} }}\n"
        "  }\n}\n"
    }
    if batched(serving, version):
        sizes = [2**power for power in range(int(math.log2(_LARGEST_BATCH)) + 1)]
        lines = [
            f"max_batch_size {{ value: {_LARGEST_BATCH} }}",
            "batch_timeout_micros { value: 1000 }",
            f"num_batch_threads {{ value: {_threads(serving)} }}",
            "max_enqueued_batches { value: 100 }",
            *(f"allowed_batch_sizes: {size}" for size in sizes),
        ]
        files["batching.config"] = "\n".join(lines) + "\n"
    return files


def batched(serving: ServingSettings, version: VersionRecord) -> bool:
    """Whether requests are run together: on a GPU, and if dimension 0 of every tensor of every signature is open.

    TensorFlow Serving batches all signatures or none, and refuses requests to one whose tensors cannot be joined. An error
    is that of the whole batch: strings, which a servable decodes, are left alone unless the setting says otherwise.
    """
    if serving.batching == "never" or version.serve.gpus == 0 or not version.signatures:
        return False
    inputs = [tensor for signature in version.signatures.values() for tensor in signature["inputs"].values()]
    outputs = [tensor for signature in version.signatures.values() for tensor in signature["outputs"].values()]
    decoding = any(tensor["dtype"] == "string" for tensor in inputs)
    return all(map(_open, inputs + outputs)) and (serving.batching == "always" or not decoding)


def fill_pod(
    pod: Manifest, serving: ServingSettings, selector: Mapping[str, str], model: str, version: VersionRecord,
    request_seconds: float, config: str,
) -> None:  # fmt: skip
    """Sets in the template's pod what follows from the version and the settings; ``config`` names its ConfigMap."""
    gpus = version.serve.gpus
    (container,) = pod["containers"]
    container["image"] = serving.gpu_image if gpus else serving.image
    container["resources"] = _resources(container["resources"], serving, version)
    del pod["nodeSelector"]
    if gpus:
        pod |= _placed(selector)
    else:
        del pod["tolerations"]
    threads = _threads(serving)
    flags = {
        "--per_process_gpu_memory_fraction": f"{serving.gpu_memory_fraction:g}" if gpus else None,
        "--rest_api_num_threads": str(4 * threads),
        "--rest_api_timeout_in_ms": str(round(request_seconds * 1000)),
        "--tensorflow_intra_op_parallelism": str(threads),
        "--tensorflow_inter_op_parallelism": str(threads),
    }
    if not batched(serving, version):
        flags |= dict.fromkeys(_BATCHING_FLAGS)
    container["args"] = [filled for argument in container["args"] if (filled := _filled(argument, flags)) is not None]
    status = f"/v1/models/{model}/versions/{version.version}"
    container["startupProbe"]["httpGet"]["path"] = f"{status}/metadata"
    container["readinessProbe"]["httpGet"]["path"] = f"{status}/metadata"
    command = container["livenessProbe"]["exec"]["command"]
    command[-1] = command[-1].replace("/v1/models/example/versions/1", status)
    volume = next(volume for volume in pod["volumes"] if volume["name"] == "config")
    volume["configMap"]["name"] = config
    if serving.reads_ahead:
        (prefetch,) = pod["initContainers"]
        prefetch["image"] = serving.prefetch_image
        prefetch["command"][-1] = f"/models/{model}/{version.version}"
    else:
        del pod["initContainers"]


def amount(quantity: str) -> float:
    """A Kubernetes quantity as a number: "500m" is 0.5, "4Gi" is 4 × 2³⁰."""
    number = quantity.rstrip("".join(_UNITS) + "i")
    return float(number) * _UNITS[quantity[len(number) :]] if quantity != number else float(number)


def _resources(template: Manifest, serving: ServingSettings, version: VersionRecord) -> Manifest:
    """A load takes the servable about twice: as read, and as placed where it is computed."""
    needed = f"{math.ceil((2 * version.bytes + _GIB) / _GIB)}Gi"
    limits = {"cpu": serving.cpu, "memory": max(serving.memory, needed, key=amount)}
    requests = {
        "cpu": min(template["requests"]["cpu"], serving.cpu, key=amount),
        "memory": min(max(template["requests"]["memory"], needed, key=amount), limits["memory"], key=amount),
    }
    gpus = version.serve.gpus
    return {"requests": requests, "limits": limits | ({GPU: str(gpus)} if gpus else {})}


def _placed(selector: Mapping[str, str]) -> Manifest:
    """What keeps a pod to nodes with these labels; a value with commas in it means any of its parts."""
    exact = {key: value for key, value in selector.items() if "," not in value}
    choices = [
        {"key": key, "operator": "In", "values": value.split(",")} for key, value in selector.items() if "," in value
    ]
    found: Manifest = {"nodeSelector": exact} if exact else {}
    if choices:
        required = {"nodeSelectorTerms": [{"matchExpressions": choices}]}
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return found


def _threads(serving: ServingSettings) -> int:
    return max(1, int(amount(serving.cpu)))


def _filled(argument: str, flags: Mapping[str, str | None]) -> str | None:
    """The argument with its flag's value set; None where the flag is to go."""
    name, _, _ = argument.partition("=")
    if name not in flags:
        return argument
    value = flags[name]
    return None if value is None else f"{name}={value}"


def _open(tensor: Mapping[str, Any]) -> bool:
    shape = tensor["shape"]
    return bool(shape) and shape[0] is None
