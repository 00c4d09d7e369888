"""Imports ``function_app.py`` and makes :class:`Function` values of it; refuses what the Python worker would refuse.

The stages: import → find the one ``FunctionApp`` → ``get_functions()`` → per function: trigger (``%SETTING%``
resolved), other bindings, parameters and annotations against the bindings. Functions that a setting switches off are
left out.
"""

import importlib
import inspect
import os
import sys
import typing
from collections.abc import Mapping
from pathlib import Path

import azure.functions as func
from azure.functions.decorators.function_app import Function as AppFunction
from azure.functions.decorators.function_app import FunctionRegister

from localcloud.functions_host import app_settings, decoding, routing, schedule
from localcloud.functions_host.errors import AppError
from localcloud.functions_host.triggers import (
    AuthLevel,
    BlobTrigger,
    Function,
    HttpTrigger,
    QueueTrigger,
    TimerTrigger,
    Trigger,
    blob_pattern,
)

_PROVIDED = "httpTrigger with its http output, blobTrigger, queueTrigger and timerTrigger"


def load(app: Path, settings: Mapping[str, str], allowed: frozenset[str] | None) -> list[Function]:
    """Imports ``app/function_app.py`` with ``app`` as working directory, as the worker does, and indexes its functions.

    Raises:
        AppError: it cannot be imported, or it declares what cannot run; the import's own error is the cause.
        SettingError: a binding names a setting that is missing.
    """
    try:
        declared = _import(app).get_functions()
    except ValueError as error:
        raise AppError(f"{app / 'function_app.py'} declares what cannot be: {error}") from error
    functions = [_function(function, settings) for function in declared]
    routing.check([f for f in functions if isinstance(f.trigger, HttpTrigger)])
    return [
        function
        for function in functions
        if not app_settings.is_disabled(function.name, settings) and (allowed is None or function.name in allowed)
    ]


def _import(app: Path) -> FunctionRegister:
    script = app / "function_app.py"
    if not script.is_file():
        raise AppError(f"There is no {script}. The app folder must hold a function_app.py (Python v2 model).")
    os.chdir(app)
    sys.path.insert(0, str(app))
    try:
        module = importlib.import_module("function_app")
    except Exception as error:
        raise AppError(f"{script} cannot be imported: {type(error).__name__}: {error}") from error
    found = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    apps = list({id(value): value for value in found}.values())
    if len(apps) != 1:
        count = "no" if not apps else "more than one"
        raise AppError(f"{script} has {count} azure.functions.FunctionApp at its top level; it needs exactly one.")
    return apps[0]


def _function(declared: AppFunction, settings: Mapping[str, str]) -> Function:
    name = str(declared.get_function_name())
    where = f"Function {name}"
    if declared.get_settings_dict("retry_policy") is not None:
        raise AppError(f"{where} declares a retry policy, which the local host does not provide. Remove @app.retry.")
    trigger = _trigger(declared, where, settings)
    call = declared.get_user_function()
    returns_http = _check_outputs(declared, where)
    if isinstance(trigger, HttpTrigger) != returns_http:
        raise AppError(f"{where}: an HTTP trigger and an http output come together (@app.route declares both).")
    annotations = _annotations(call, where)
    parameters = list(inspect.signature(call).parameters)
    takes_context = "context" in parameters and trigger.parameter != "context"
    if takes_context:
        parameters.remove("context")
        if getattr(annotations.get("context", func.Context), "__name__", "") != "Context":
            raise AppError(f"{where}: its parameter 'context' must be annotated as azure.functions.Context.")
    if parameters != [trigger.parameter]:
        raise AppError(
            f"{where} takes the parameters {parameters} besides context, but its bindings provide "
            f"{[trigger.parameter]}. The trigger's arg_name must be the parameter's name."
        )
    annotation = annotations.get(trigger.parameter)
    if annotation is not None and not decoding.accepts(trigger, annotation):
        raise AppError(
            f"{where}: its parameter {trigger.parameter!r} is annotated as {annotation!r}, which the Python worker "
            f"cannot make from a {_type_of(declared)}."
        )
    if returns_http and "return" in annotations:
        returned = annotations["return"]
        if not (isinstance(returned, type) and issubclass(returned, func.HttpResponse | str)):
            raise AppError(
                f"{where} must be annotated to return azure.functions.HttpResponse or str, not {returned!r}."
            )
    return Function(
        name=name,
        call=call,
        is_async=inspect.iscoroutinefunction(call),
        trigger=trigger,
        parameter_type=annotation,
        takes_context=takes_context,
        directory=str(Path(inspect.getfile(call)).parent),
    )


def _annotations(call: typing.Callable[..., object], where: str) -> dict[str, object]:
    try:
        return typing.get_type_hints(call)
    except (NameError, TypeError) as error:
        raise AppError(f"{where}: its annotations cannot be resolved: {error}.") from error


def _type_of(declared: AppFunction) -> str:
    trigger = declared.get_trigger()
    return "" if trigger is None else str(trigger.type)


def _check_outputs(declared: AppFunction, where: str) -> bool:
    """Whether the function returns an HTTP response; anything else than that and its trigger is refused."""
    others = [binding for binding in declared.get_bindings() if binding is not declared.get_trigger()]
    for binding in others:
        if binding.type != "http" or binding.name != "$return":
            raise AppError(
                f"{where} has a binding {binding.name!r} of type {binding.type!r}, which the local host does not "
                f"provide. It provides {_PROVIDED}."
            )
    return bool(others)


def _trigger(declared: AppFunction, where: str, settings: Mapping[str, str]) -> Trigger:
    trigger = declared.get_trigger()
    fields = {} if trigger is None else trigger.get_dict_repr()

    def text(key: str, default: str = "") -> str:
        return app_settings.resolve(_text(fields.get(key), default), settings, where)

    parameter = text("name")
    match fields.get("type"):
        case "httpTrigger":
            methods = fields.get("methods")
            return HttpTrigger(
                parameter,
                route=text("route").strip("/"),
                methods=None if methods is None else frozenset(_text(method).upper() for method in methods),
                auth_level=_auth_level(text("authLevel", "function"), where),
            )
        case "blobTrigger":
            try:
                container, pattern = blob_pattern(text("path"))
            except ValueError as error:
                raise AppError(f"{where}: {error}.") from error
            event_grid = text("source").lower() == "eventgrid"
            return BlobTrigger(parameter, container, pattern, text("connection"), event_grid)
        case "queueTrigger":
            return QueueTrigger(parameter, text("queueName"), text("connection"))
        case "timerTrigger":
            timer = TimerTrigger(
                parameter,
                schedule=text("schedule"),
                run_on_startup=bool(fields.get("runOnStartup")),
                use_monitor=fields.get("useMonitor") is not False,
            )
            try:
                schedule.Schedule(timer.schedule)
            except ValueError as error:
                raise AppError(f"{where}: {error}") from error
            return timer
        case other:
            raise AppError(
                f"{where} has a trigger of type {other!r}, which the local host does not provide: {_PROVIDED}."
            )


def _auth_level(text: str, where: str) -> AuthLevel:
    match text.lower():
        case "anonymous":
            return "anonymous"
        case "function":
            return "function"
        case "admin":
            return "admin"
        case other:
            raise AppError(f"{where}: the auth level {other!r} is not one of anonymous, function, admin.")


def _text(value: object, default: str = "") -> str:
    """A field of a binding as text; the library leaves enumerations as they are."""
    if value is None:
        return default
    return str(getattr(value, "value", value))
