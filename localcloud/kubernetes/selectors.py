"""Label and field selectors, as query parameters write them and as objects carry them. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from localcloud.kubernetes.errors import bad_request
from localcloud.kubernetes.names import label_value_fault
from localcloud.kubernetes.objects import Object, dig, labels_of

Predicate = Callable[[Object], bool]

_TOKEN = re.compile(r"\s*(==|!=|=|!|>|<|\(|\)|,|[^\s=!<>(),]+)")
_SYMBOLS = frozenset({"==", "!=", "=", "!", ">", "<", "(", ")", ","})
_OPERATORS = "in, notin, =, ==, !=, gt, lt"

_SELECTABLE = {
    "Pod": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "Event": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason", "source",
        "type", "reportingComponent",
    ),
    "Node": ("spec.unschedulable",),
    "Namespace": ("status.phase",),
    "Secret": ("type",),
    "Job": ("status.successful",),
    "ReplicaSet": ("status.replicas",),
    "Service": ("spec.clusterIP", "spec.type"),
}  # fmt: skip


def match_labels(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tells whether a LabelSelector selects ``labels``; None selects nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(
        match_expression(entry["key"], entry["operator"], entry.get("values") or [], labels)
        for entry in selector.get("matchExpressions") or []
    )


def match_expression(key: str, operator: str, values: list[str], labels: Mapping[str, str]) -> bool:
    """Tells whether one requirement of a label or node selector holds."""
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case "Gt" | "Lt":
            present = labels.get(key, "")
            if not present.lstrip("-").isdigit():
                return False
            return int(present) > int(values[0]) if operator == "Gt" else int(present) < int(values[0])
        case _:
            return False


def parse_label_selector(text: str) -> Predicate:
    """Reads ``labelSelector``.

    Raises ApiError (400) for what is malformed.
    """
    tokens = _tokens(text)
    requirements: list[tuple[str, str, list[str]]] = []
    while tokens:
        requirements.append(_requirement(tokens))
        if tokens and tokens[0] == ",":
            tokens.pop(0)
        elif tokens:
            raise bad_request(f"found '{tokens[0]}', expected: ',' or 'end of string'")
    return lambda item: all(match_expression(*requirement, labels_of(item)) for requirement in requirements)


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise bad_request(f"unable to parse requirement: found '{text[position:]}'")
        tokens.append(found.group(1))
        position = found.end()
    return tokens


def _requirement(tokens: list[str]) -> tuple[str, str, list[str]]:
    first = tokens.pop(0)
    if first == "!":
        return tokens.pop(0) if tokens else "", "DoesNotExist", []
    if first in _SYMBOLS:
        raise bad_request(f"found '{first}', expected: !, identifier, or 'end of string'")
    if not tokens or tokens[0] == ",":
        return first, "Exists", []
    match tokens.pop(0):
        case "=" | "==":
            return first, "In", [_value(first, tokens)]
        case "!=":
            return first, "NotIn", [_value(first, tokens)]
        case ">" | "gt":
            return first, "Gt", [_value(first, tokens)]
        case "<" | "lt":
            return first, "Lt", [_value(first, tokens)]
        case "in":
            return first, "In", _values(first, tokens)
        case "notin":
            return first, "NotIn", _values(first, tokens)
        case found:
            raise bad_request(f"unable to parse requirement: found '{found}', expected: {_OPERATORS}")


def _value(key: str, tokens: list[str], index: int = 0) -> str:
    value = tokens.pop(0) if tokens and tokens[0] not in _SYMBOLS else ""
    if fault := label_value_fault(value):
        raise bad_request(f'unable to parse requirement: values[{index}][{key}]: Invalid value: "{value}": {fault}')
    return value


def _values(key: str, tokens: list[str]) -> list[str]:
    if not tokens or tokens[0] != "(":
        raise bad_request(f"unable to parse requirement: found '{tokens[0] if tokens else ''}' expected: '('")
    tokens.pop(0)
    values = [_value(key, tokens)]
    while tokens and tokens[0] == ",":
        tokens.pop(0)
        values.append(_value(key, tokens, len(values)))
    if not tokens or tokens.pop(0) != ")":
        raise bad_request("unable to parse requirement: expected: ',' or ')'")
    return values


def parse_field_selector(text: str, kind: str) -> Predicate:
    """Reads ``fieldSelector`` for objects of ``kind``.

    Raises ApiError (400) for a field that cannot be selected by.
    """
    tests: list[tuple[str, str, bool]] = []
    for term in filter(None, text.split(",")):
        field, operator, value = _split_term(term)
        if field not in ("metadata.name", "metadata.namespace", *_SELECTABLE.get(kind, ())):
            known = 'only "metadata.name", "metadata.namespace"'
            raise bad_request(f'"{field}" is not a known field selector: {known}')
        tests.append((field, value, operator != "!="))
    return lambda item: all((_field(item, field) == value) is wanted for field, value, wanted in tests)


def _split_term(term: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        field, found, value = term.partition(operator)
        if found:
            return field.strip(), operator, value.strip()
    raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")


def _field(item: Object, field: str) -> str:
    value = dig(item, *field.split("."))
    match value:
        case None:
            return "0" if field in ("status.successful", "status.replicas") else ""
        case bool():
            return str(value).lower()
        case dict():
            return str(value.get("component", ""))
        case _:
            return str(value)
