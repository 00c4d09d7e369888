"""Routes of HTTP functions, as ASP.NET's attribute routing reads them.

``{x}``, ``{x?}``, ``{x=default}``, ``{*rest}`` and inline constraints (``{id:int}``); case does not matter; the
most specific route wins: literal before constrained parameter before parameter before catch-all.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from localcloud.functions_host.errors import AppError
from localcloud.functions_host.triggers import Function, HttpTrigger

_PARAMETER = re.compile(
    r"\{(?P<star>\*{0,2})(?P<name>\w+)(?P<constraints>(?::[^{}=?]+)*)(?:=(?P<default>[^{}]*)|(?P<optional>\?))?\}"
)
_CONSTRAINTS = {
    "int": r"-?\d{1,10}",
    "long": r"-?\d{1,19}",
    "float": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "double": r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    "decimal": r"-?\d+(?:\.\d+)?",
    "bool": r"true|false",
    "guid": r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}",
    "alpha": r"[a-z]+",
    "required": r"[^/]+",
}


@dataclass(frozen=True)
class Route:
    """One function's route, compiled. ``rank`` orders routes by how specific they are, lowest first."""

    function: Function
    trigger: HttpTrigger
    pattern: re.Pattern[str]
    defaults: dict[str, str]
    rank: tuple[int, ...]


class RouteTable:
    """Finds the function that a request is for."""

    def __init__(self, prefix: str, functions: Iterable[Function]) -> None:
        self._routes = sorted(_routes(prefix, functions), key=lambda route: route.rank)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route of ``path`` (still percent-encoded) that takes ``method``, and the values of its parameters."""
        for route in self._routes:
            if route.trigger.methods is not None and method not in route.trigger.methods:
                continue  # on Azure, too, a wrong method is a 404: the method is part of the route
            if (match := route.pattern.fullmatch(path)) is not None:
                values = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                return route, {**route.defaults, **values} if route.defaults else values
        return None


def check(functions: Iterable[Function]) -> None:
    """Compiles the routes only to say what is wrong with them.

    Raises:
        AppError: a template cannot be read.
    """
    _routes("", functions)


def _routes(prefix: str, functions: Iterable[Function]) -> list[Route]:
    return [_compile(prefix, f, f.trigger) for f in functions if isinstance(f.trigger, HttpTrigger)]


def _compile(prefix: str, function: Function, trigger: HttpTrigger) -> Route:
    template = "/".join(part for part in (prefix, trigger.route) if part)
    defaults: dict[str, str] = {}
    pattern = ""
    rank: list[int] = []
    for segment in template.split("/"):
        text, segment_rank, may_be_absent = _segment(segment, function.name, defaults)
        pattern += f"(?:/{text})?" if may_be_absent else f"/{text}"
        rank.append(segment_rank)
    rank.append(0)  # where both match, a route that ends here is more specific than one with an absent tail
    return Route(function, trigger, re.compile(f"{pattern}/?", re.IGNORECASE), defaults, tuple(rank))


def _segment(segment: str, function: str, defaults: dict[str, str]) -> tuple[str, int, bool]:
    """The pattern of one segment, its rank, and whether the path may end before it."""
    parameters = list(_PARAMETER.finditer(segment))
    literals = _PARAMETER.sub("", segment)
    if "{" in literals or "}" in literals:
        raise AppError(f"Function {function}: the part {segment!r} of its route cannot be read.")
    if not parameters:
        return re.escape(segment), 0, False
    pattern, end = "", 0
    for parameter in parameters:
        pattern += re.escape(segment[end : parameter.start()]) + _group(parameter, function)
        end = parameter.end()
    pattern += re.escape(segment[end:])
    first = parameters[0]
    if first["default"] is not None:
        defaults[first["name"]] = first["default"]
    constrained = any(parameter["constraints"] for parameter in parameters)
    absent = not literals and (first["optional"] is not None or first["default"] is not None or bool(first["star"]))
    if first["star"]:
        return pattern, 4 if constrained else 5, absent
    if literals:
        return pattern, 1, absent
    return pattern, 2 if constrained else 3, absent


def _group(parameter: re.Match[str], function: str) -> str:
    constraints = [constraint for constraint in _split(parameter["constraints"]) if constraint]
    anything = ".*" if parameter["star"] else "[^/]+"
    looks = "".join(f"(?=(?:{_constraint(c, function)})(?:/|$))" for c in constraints)
    return f"{looks}(?P<{parameter['name']}>{anything})"


def _split(constraints: str | None) -> Sequence[str]:
    return re.split(r":(?![^(]*\))", constraints or "")


def _constraint(text: str, function: str) -> str:
    name, _, arguments = text.partition("(")
    arguments = arguments.removesuffix(")")
    match name.lower():
        case known if known in _CONSTRAINTS:
            return _CONSTRAINTS[known]
        case "minlength":
            return f"[^/]{{{int(arguments)},}}"
        case "maxlength":
            return f"[^/]{{1,{int(arguments)}}}"
        case "length":
            return f"[^/]{{{arguments.replace(' ', '')}}}"
        case "regex":
            return arguments.removeprefix("^").removesuffix("$").replace("\\\\", "\\")
        case _:
            raise AppError(f"Function {function}: the route constraint {text!r} is not known to the local host.")
