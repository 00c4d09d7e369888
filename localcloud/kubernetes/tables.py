"""Table output: what ``kubectl get`` asks for and prints."""

from localcloud.kubernetes.columns import COLUMNS, NUMBERS, PLAIN
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.resources import Resource

_WIDE = 1  # priority of the columns that only -o wide shows


def table(resource: Resource, items: list[Object], metadata: Object, include: str) -> Object:
    """Returns the Table of ``items``; ``include`` says what of each object goes with its row."""
    columns, row = COLUMNS.get(resource.kind, PLAIN)
    definitions = []
    for column in columns:
        name, _, wide = column.partition("|")
        kind = "integer" if name in NUMBERS else "string"
        priority = _WIDE if wide else 0
        form = "name" if name == "Name" else ""
        definitions.append(
            {
                "name": name,
                "type": kind,
                "format": form,
                "description": f"{resource.kind}: {name}",
                "priority": priority,
            }
        )
    rows = []
    for item in items:
        entry: Object = {"cells": row(item)}
        match include:
            case "Object":
                entry["object"] = item
            case "Metadata":
                kind = "PartialObjectMetadata"
                entry["object"] = {"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
            case _:
                pass
        rows.append(entry)
    return {
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions,
        "rows": rows,
    }  # fmt: skip
