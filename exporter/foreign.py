"""Models of other kinds: what they are called, and what their owner can do. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

_AS_KERAS = "Load it where it was made and save it with model.save('NAME.keras') of Keras 3."
_FROM_SOURCE = "Upload the Keras model or SavedModel that it was made from."
_TORCH = "Slipway serves Keras and TensorFlow models. Rebuild it in Keras, or serve it by TorchServe."
_JAX = (
    "Export it to a SavedModel with jax2tf (orbax.export, or tf.saved_model.save of jax2tf.convert) and upload that "
    "as a directory or .zip."
)


@dataclass(frozen=True)
class Foreign:
    """A kind of model that is not converted; ``what`` follows the file's name."""

    what: str
    hint: str


_PYTORCH = Foreign("is a PyTorch file", _TORCH)
_PICKLE = Foreign("is a pickle (PyTorch, scikit-learn …), which runs code when it is read", _TORCH)
_ONNX = Foreign("is an ONNX file", _FROM_SOURCE)
_LITE = Foreign("is a TensorFlow Lite file", _FROM_SOURCE)
_FLAX = Foreign("is a checkpoint of JAX, Flax or Orbax", _JAX)
_WEIGHTS = Foreign("holds weights without a model", _AS_KERAS)
_CHECKPOINT = Foreign(
    "is a TensorFlow checkpoint: weights without a graph", "Export the model with model.export(DIRECTORY)."
)
_JS = Foreign("is a TensorFlow.js model", _FROM_SOURCE)
_GRAPH = Foreign(
    "is one file of a SavedModel, or a frozen graph", "Upload a whole SavedModel: a directory, or that as a .zip."
)
_GGUF = Foreign("is a GGUF language model", "Slipway serves Keras and TensorFlow models; llama.cpp serves this.")
_CORE_ML = Foreign("is a Core ML model", _FROM_SOURCE)
_TEXT = Foreign("is a model's architecture without its weights", _AS_KERAS)

_BY_SUFFIX = {
    ".onnx": _ONNX,
    ".safetensors": _WEIGHTS,
    ".npz": _WEIGHTS,
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".ckpt": _CHECKPOINT,
    ".index": _CHECKPOINT,
    ".pkl": _PICKLE,
    ".joblib": _PICKLE,
    ".msgpack": _FLAX,
    ".orbax": _FLAX,
    ".tflite": _LITE,
    ".lite": _LITE,
    ".pb": _GRAPH,
    ".gguf": _GGUF,
    ".mlmodel": _CORE_ML,
    ".mlpackage": _CORE_ML,
    ".json": _TEXT,
}


def by_head(head: bytes) -> Foreign | None:
    """By a file's first bytes."""
    if head[4:8] == b"TFL3":
        return _LITE
    if head.startswith(b"GGUF"):
        return _GGUF
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return _PICKLE
    if len(head) > 8 and int.from_bytes(head[:8], "little") < 1 << 32 and head[8:9] == b"{":
        return _WEIGHTS  # safetensors: the length of a JSON header, and that
    return None


def by_suffix(suffix: str) -> Foreign | None:
    """By a file's extension, in small letters."""
    return _BY_SUFFIX.get(suffix)


def by_members(names: Iterable[str]) -> Foreign | None:
    """By what lies in an archive or directory."""
    for name in names:
        last = name.rsplit("/", 1)[-1]
        match last:
            case "data.pkl" | "constants.pkl" | "pytorch_model.bin":
                return _PYTORCH
            case "_CHECKPOINT_METADATA" | "manifest.ocdbt" | "flax_model.msgpack":
                return _FLAX
            case "model.safetensors":
                return _WEIGHTS
            case "checkpoint":
                return _CHECKPOINT
            case "model.json":
                return _JS
        if (kind := _BY_SUFFIX.get("." + last.rsplit(".", 1)[-1].lower())) and kind not in (_GRAPH, _TEXT):
            return kind
        if last.endswith(".npy"):
            return _WEIGHTS
    return None
