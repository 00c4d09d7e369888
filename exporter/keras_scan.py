"""The ``config.json`` of a ``.keras`` file, read as the untrusted program that it is.

Keras rebuilds a model by importing ``module`` and calling ``class_name`` for each object that the configuration names.
Here every object must be of a module and class that are known to do nothing but compute, wherever in the configuration
it stands; whatever is not known is refused. Pure: no Keras is imported.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exporter.errors import Finding, NotAModel, ScanRefused, Stage, Unsupported
from exporter.keras_names import ACTIVATIONS, ALLOWED

# Layers that carry code, or read files and other models, when they are rebuilt or called.
_CODE_LAYERS = {
    "Lambda": "a Lambda layer carries Python code",
    "TFSMLayer": "a TFSMLayer loads another model from a path",
    "TorchModuleWrapper": "a TorchModuleWrapper unpickles a PyTorch module",
    "JaxLayer": "a JaxLayer calls Python code",
    "FlaxLayer": "a FlaxLayer calls Python code",
}

# Operations of keras.ops that take a function, and so would call what the configuration names.
_CALLING_OPERATIONS = frozenset(
    {
        "Map",
        "Scan",
        "AssociativeScan",
        "Switch",
        "WhileLoop",
        "ForiLoop",
        "Cond",
        "VectorizedMap",
        "Operation",
        "Function",
    }
)

_OPERATION_MODULES = frozenset(f"keras.src.ops.{name}" for name in ("core", "image", "linalg", "math", "nn", "numpy"))
# What Keras writes for values that JSON has no form for.
_VALUES = frozenset({"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"})
_OPERATION = re.compile(r"[A-Z][A-Za-z0-9]*")
_LOOKUP_LAYERS = frozenset({"StringLookup", "IntegerLookup", "TextVectorization"})
_KERAS_2 = ("keras.engine", "keras.src.engine", "tf_keras", "tensorflow")


@dataclass(frozen=True)
class KerasFile:
    """What a clean configuration says about itself."""

    keras_version: str | None
    class_name: str


def check(config: bytes, metadata: bytes | None, *, name: str) -> KerasFile:
    """Reads the configuration of ``name`` and refuses what is not known to be harmless.

    Raises:
        NotAModel: it is no JSON, or describes no model.
        Unsupported: it was written by Keras 2.
        ScanRefused: it names code-carrying layers, unknown modules or classes, or custom objects.
    """
    root = _json_object(config, where=f"{name}!config.json")
    version = _keras_version(metadata, name)
    module, class_name = str(root.get("module") or ""), root.get("class_name")
    if not isinstance(class_name, str):
        raise _not_a_model(name, "config.json names no model class")
    if module.startswith(_KERAS_2) or (version or "").startswith("2."):
        raise Unsupported(
            f"'{name}' was written by Keras 2 ({module or 'keras'} {version or ''}), which is not converted.",
            hint="Load it with tf_keras and save it as a SavedModel with model.export(DIRECTORY); upload that.",
            stage=Stage.SCAN,
            code="keras_2",
        )
    # The model is loaded with compile=False, for which Keras drops this one entry unread; nested ones it does read.
    findings = list(_findings({key: value for key, value in root.items() if key != "compile_config"}))
    if findings:
        raise ScanRefused(
            f"'{name}' is refused: {findings[0]}" + (f" (and {len(findings) - 1} more)." if findings[1:] else "."),
            hint="Only Keras's own layers are converted. Replace the layer by built-in ones, or export the model to a "
            "SavedModel with model.export(DIRECTORY) where you trust it, and upload that.",
            code=_code(findings),
            findings=findings,
        )
    return KerasFile(version, class_name)


def _findings(root: dict[str, Any]) -> Iterator[Finding]:
    """Walks the whole configuration without recursion, so that depth is no way to end the process."""
    pending: list[tuple[str, Any]] = [("config.json", root)]
    while pending:
        where, value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value or "spec_name" in value:
                where = _place(where, value)
                if problem := _problem(value):
                    yield Finding(where, problem)
            pending.extend((f"{where}.{key}", child) for key, child in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend((f"{where}[{index}]", child) for index, child in reversed(list(enumerate(value))))


def _problem(value: dict[str, Any]) -> str | None:
    class_name, module, config = value.get("class_name"), value.get("module"), value.get("config")
    registered = value.get("registered_name")
    if class_name == "__lambda__":
        return "a serialized Python lambda"
    if isinstance(class_name, str) and class_name in _VALUES and module is None:
        return None
    if isinstance(class_name, str) and (what := _CODE_LAYERS.get(class_name)):
        return what
    if not isinstance(class_name, str) or not isinstance(module, str):
        return f"the class {class_name!r} is of no module, so it is none of Keras's own"
    if isinstance(registered, str) and registered not in (class_name, config):
        return f"the custom class {registered!r} is registered by code that is not here"
    if class_name == "function":
        return _function_problem(module, config)
    if module in _OPERATION_MODULES:
        if _OPERATION.fullmatch(class_name) and class_name not in _CALLING_OPERATIONS:
            return None
        return f"the operation {module}.{class_name} calls other code"
    if class_name not in ALLOWED.get(module, ()):
        return f"{module}.{class_name} is none of the classes that are known to be harmless"
    if class_name in _LOOKUP_LAYERS and isinstance(config, dict) and isinstance(config.get("vocabulary"), str):
        return f"the {class_name} layer reads its vocabulary from the path {config['vocabulary']!r}"
    return None


def _function_problem(module: str, name: object) -> str | None:
    # For 'builtins', Keras looks the name up among its activations, initializers and the like, and nowhere else.
    if module in ("builtins", "keras.activations") and name in ACTIVATIONS:
        return None
    return f"the function {module}.{name} is none of Keras's activations"


def _place(where: str, value: dict[str, Any]) -> str:
    config = value.get("config")
    name = value.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return f"{where} (layer '{name}')" if isinstance(name, str) and value.get("module") == "keras.layers" else where


def _code(findings: list[Finding]) -> str:
    code_carrying = {*_CODE_LAYERS.values(), "a serialized Python lambda"}
    return "carries_code" if any(finding.what in code_carrying for finding in findings) else "unknown_class"


def _keras_version(metadata: bytes | None, name: str) -> str | None:
    if metadata is None:
        return None
    version = _json_object(metadata, where=f"{name}!metadata.json").get("keras_version")
    return version if isinstance(version, str) and len(version) < 40 else None


def _json_object(content: bytes, *, where: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _not_a_model(where, f"this is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise _not_a_model(where, "this is no JSON object")
    return value


def _not_a_model(where: str, what: str) -> NotAModel:
    return NotAModel(
        f"'{where}': {what}.", hint="Save the model again with model.save('NAME.keras').", stage=Stage.SCAN
    )
