"""The configuration of a Keras model, read as the untrusted program that it is: ``config.json``, or HDF5's ``model_config``.

Keras rebuilds a model by importing ``module`` and calling ``class_name`` for each object that the configuration names.
Here every object must be of a module and class that are known to do nothing but compute, wherever in the configuration
it stands; whatever is not known is refused. Pure: no Keras is imported.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from exporter import keras_2_names, keras_names
from exporter.errors import Finding, NotAModel, ScanRefused, Stage
from exporter.keras_names import ACTIVATIONS, Dialect

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
_KERAS_2_MODULES = ("keras.engine", "keras.src.engine", "tf_keras", "tensorflow")
_CODE = "a serialized Python lambda"


class Loader(StrEnum):
    """What turns a model into a servable."""

    KERAS_3 = "keras"
    KERAS_2 = "tf_keras"
    REPACKAGE = "repackage"
    """nothing: a SavedModel is a servable already"""


@dataclass(frozen=True)
class KerasModel:
    """What a clean configuration says about itself."""

    keras_version: str | None
    class_name: str
    loader: Loader


def check_keras_file(
    config: bytes, metadata: bytes | None, *, name: str, allowed: frozenset[str] = frozenset()
) -> KerasModel:
    """Reads ``config.json`` and ``metadata.json`` of the ``.keras`` file ``name``; refuses what is not known to be harmless.

    ``allowed`` are classes that the settings trust beside Keras's own, as MODULE.CLASS.

    Raises:
        NotAModel: it is no JSON, or describes no model.
        ScanRefused: it names code-carrying layers, unknown modules or classes, or custom objects.
    """
    place = f"{name}!config.json"
    root = _json_object(config, where=place)
    version = _version(_json_object(metadata, where=f"{name}!metadata.json").get("keras_version")) if metadata else None
    module = str(root.get("module") or "")
    keras_2 = module.startswith(_KERAS_2_MODULES) or (version or "").startswith("2.")
    # The model is loaded with compile=False, for which Keras drops this one entry unread; nested ones it does read.
    without_compilation = {key: value for key, value in root.items() if key != "compile_config"}
    class_name = _class_name(root, place)
    dialect = keras_2_names.KERAS_2 if keras_2 else keras_names.KERAS_3
    _require_harmless(without_compilation, "config.json", name, dialect, allowed)
    return KerasModel(version, class_name, Loader.KERAS_2 if keras_2 else Loader.KERAS_3)


def check_hdf5(
    config: str, keras_version: str | None, *, name: str, allowed: frozenset[str] = frozenset()
) -> KerasModel:
    """Reads the ``model_config`` of the HDF5 file ``name``. Without a version it is of Keras 2 or older.

    Raises:
        as ``check_keras_file``.
    """
    place = f"{name}@model_config"
    root = _json_object(config.encode("utf-8", "surrogatepass"), where=place)
    class_name = _class_name(root, place)
    keras_3 = (keras_version or "").startswith("3.")
    _require_harmless(
        root, "model_config", name, keras_names.KERAS_3_HDF5 if keras_3 else keras_2_names.KERAS_2, allowed
    )
    loader = Loader.KERAS_3 if keras_3 else Loader.KERAS_2
    return KerasModel(_version(keras_version), class_name, loader)


def _require_harmless(root: dict[str, Any], where: str, name: str, dialect: Dialect, allowed: frozenset[str]) -> None:
    findings = list(_findings(root, where, dialect, allowed))
    if findings:
        raise ScanRefused(
            f"'{name}' is refused: {findings[0]}" + (f" (and {len(findings) - 1} more)." if findings[1:] else "."),
            hint="Only Keras's own layers are converted. Replace the layer by built-in ones; or export the model to a "
            "SavedModel with model.export(DIRECTORY) where you trust it, and upload that; or let the settings name its "
            "class, if its module is installed here.",
            code=_code(findings),
            findings=findings,
        )


def _findings(root: dict[str, Any], where: str, dialect: Dialect, allowed: frozenset[str]) -> Iterator[Finding]:
    """Walks the whole configuration without recursion, so that depth is no way to end the process."""
    pending: list[tuple[str, Any]] = [(where, root)]
    while pending:
        where, value = pending.pop()
        if isinstance(value, dict):
            if "class_name" in value or "spec_name" in value:
                where = _place(where, value)
                if problem := _problem(value, dialect, allowed):
                    yield Finding(where, problem)
            pending.extend((f"{where}.{key}", child) for key, child in reversed(value.items()))
        elif isinstance(value, list):
            pending.extend((f"{where}[{index}]", child) for index, child in reversed(list(enumerate(value))))


def _problem(value: dict[str, Any], dialect: Dialect, allowed: frozenset[str]) -> str | None:
    class_name, module, config = value.get("class_name"), value.get("module"), value.get("config")
    registered = value.get("registered_name")
    if class_name == "__lambda__":
        return _CODE
    if isinstance(class_name, str) and class_name in _VALUES and module is None:
        return None
    if isinstance(class_name, str) and (what := _CODE_LAYERS.get(class_name)):
        return what
    if not isinstance(class_name, str) or not isinstance(module, str | None):
        return f"the class {class_name!r} of the module {module!r} is none of Keras's own"
    if f"{module}.{class_name}" in allowed or (module is None and _by_last_name(class_name, allowed)):
        return None
    if module is None and class_name not in dialect.without_module:
        return f"the class {class_name!r} is of no module, so it is none of Keras's own"
    if isinstance(registered, str) and registered not in (class_name, config):
        return f"the custom class {registered!r} is registered by code that is not here"
    if class_name == "function":
        return _function_problem(str(module), config)
    if module in _OPERATION_MODULES:
        if _OPERATION.fullmatch(class_name) and class_name not in _CALLING_OPERATIONS:
            return None
        return f"the operation {module}.{class_name} calls other code"
    if module is not None and class_name not in dialect.by_module.get(module, ()):
        return f"{module}.{class_name} is none of the classes that are known to be harmless"
    return _argument_problem(class_name, config)


def _argument_problem(class_name: str, config: object) -> str | None:
    """What a harmless class would do that is given a harmful argument."""
    if not isinstance(config, dict):
        return None
    if class_name in _LOOKUP_LAYERS and isinstance(config.get("vocabulary"), str):
        return f"the {class_name} layer reads its vocabulary from the path {config['vocabulary']!r}"
    if class_name in keras_2_names.OPERATION_LAYERS:
        return keras_2_names.operation_problem(class_name, config)
    return None


def _by_last_name(class_name: str, allowed: frozenset[str]) -> bool:
    """Files of the older form name a class without its module, or as PACKAGE>CLASS."""
    return any(name.rpartition(".")[2] == class_name.rpartition(">")[2] for name in allowed)


def _function_problem(module: str, name: object) -> str | None:
    # For 'builtins', Keras looks the name up among its activations, initializers and the like, and nowhere else.
    if module in ("builtins", "keras.activations") and isinstance(name, str) and name in ACTIVATIONS:
        return None
    return f"the function {module}.{name} is none of Keras's activations"


def _place(where: str, value: dict[str, Any]) -> str:
    config = value.get("config")
    name = value.get("name") or (config.get("name") if isinstance(config, dict) else None)
    return f"{where} (layer '{name}')" if isinstance(name, str) and value.get("module") == "keras.layers" else where


def _code(findings: list[Finding]) -> str:
    code_carrying = {*_CODE_LAYERS.values(), _CODE}
    return "carries_code" if any(finding.what in code_carrying for finding in findings) else "unknown_class"


def _version(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) < 40 else None


def _class_name(root: dict[str, Any], where: str) -> str:
    if not isinstance(root.get("class_name"), str):
        raise _not_a_model(where, "it names no model class")
    return str(root["class_name"])


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
