"""The forms in which objects are sent: whole, Table, PartialObjectMetadata; chosen by the Accept header."""

from dataclasses import dataclass

from localcloud.kubernetes.errors import ApiError
from localcloud.kubernetes.objects import Object
from localcloud.kubernetes.resources import Resource
from localcloud.kubernetes.tables import table

_AVAILABLE = "application/json"


@dataclass(frozen=True)
class Form:
    """One of the forms: ``Table`` or ``PartialObjectMetadata``, or the object as it is."""

    view: str = ""
    include: str = "Metadata"

    def shown(self, resource: Resource, item: Object) -> Object:
        """Returns an object as this form shows it."""
        match self.view:
            case "Table":
                return table(
                    resource, [item], {"resourceVersion": item["metadata"].get("resourceVersion", "")}, self.include
                )
            case "PartialObjectMetadata":
                return _partial(item)
            case _:
                return item

    def shown_list(self, resource: Resource, items: list[Object], metadata: Object) -> Object:
        """Returns a list as this form shows it; entries of a plain list carry no kind and apiVersion."""
        match self.view:
            case "Table":
                return table(resource, items, metadata, self.include)
            case "PartialObjectMetadata":
                rows = [_partial(item) for item in items]
                kind = "PartialObjectMetadataList"
                return {"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": rows}
            case _:
                rows = [{k: v for k, v in item.items() if k not in ("kind", "apiVersion")} for item in items]
                return {
                    "kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata,
                    "items": rows,
                }  # fmt: skip


def choose_form(accept: str, include: str = "") -> Form:
    """Returns the first acceptable form. Raises ApiError (406) where there is none."""
    for offer in accept.split(",") if accept.strip() else ["application/json"]:
        media_type, *parameters = (part.strip() for part in offer.split(";"))
        view = next((p.removeprefix("as=") for p in parameters if p.startswith("as=")), "")
        if media_type in ("*/*", "application/*"):
            return Form()
        if media_type != "application/json":
            continue
        if view in ("", "Table", "PartialObjectMetadata"):
            return Form(view, include or "Metadata")
        if view == "PartialObjectMetadataList":
            return Form("PartialObjectMetadata")
    message = f"406: Not Acceptable\n\nAvailable representations: {_AVAILABLE}"
    raise ApiError(406, "NotAcceptable", message, {})


def _partial(item: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
