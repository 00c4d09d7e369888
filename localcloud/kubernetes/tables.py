"""Table output: what ``kubectl get`` asks for and prints."""

from localcloud.kubernetes.columns import COLUMNS, NUMBERS, PLAIN
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.resources import Resource

_WIDE = 1  # priority of the columns that only -o wide shows


def table(resource: Resource, items: list[Object], metadata: Object, include: str) -> Object:
    """Returns the Table of ``items``; ``include`` says what of each object goes with its row."""
    columns = COLUMNS.get(resource.kind, PLAIN)
    definitions = []
    for column in columns:
        name, _, wide = column.partition("|")
        definitions.append(
            {
                "name": name, "type": "integer" if name in NUMBERS else "string", "priority": _WIDE if wide else 0,
                "format": "name" if name == "Name" else "", "description": f"{resource.kind}: {name}",
            }
        )  # fmt: skip
    rows = [{"cells": [shown(item) for shown in columns.values()], **_included(item, include)} for item in items]
    return {
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
        "rows": rows,
    }  # fmt: skip


def _included(item: Object, include: str) -> Object:
    match include:
        case "Object":
            return {"object": item}
        case "Metadata":
            partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
            return {"object": partial}
        case _:
            return {}
