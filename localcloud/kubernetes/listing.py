"""Lists: selectors, resource versions, pages."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from localcloud.kubernetes.errors import (
    ApiError,
    Cause,
    ExpiredError,
    bad_request,
    forbidden_field,
    invalid_options,
)
from localcloud.kubernetes.objects import Object, name_of, namespace_of
from localcloud.kubernetes.resources import Resource
from localcloud.kubernetes.selectors import Predicate, parse_field_selector, parse_label_selector
from localcloud.kubernetes.store import Store

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True)
class ListOptions:
    """The query of a list or a watch."""

    selects: Predicate
    selected: bool
    """Whether a selector was given at all."""
    limit: int
    continue_token: str
    revision: int | None
    revision_match: str

    @classmethod
    def read(cls, resource: Resource, query: Mapping[str, str], name: str = "") -> "ListOptions":
        """Reads the query; ``name`` restricts it to one object. Raises ApiError (400, 422)."""
        labels = parse_label_selector(query.get("labelSelector", ""))
        fields = parse_field_selector(query.get("fieldSelector", ""), resource.kind)
        text = query.get("resourceVersion", "")
        match = query.get("resourceVersionMatch", "")
        if match and not text and not query.get("sendInitialEvents"):
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise invalid_options("ListOptions", forbidden_field("resourceVersionMatch", why))
        return cls(
            selects=lambda item: labels(item) and fields(item) and (not name or name_of(item) == name),
            selected=bool(query.get("labelSelector") or query.get("fieldSelector") or name),
            limit=_integer(query.get("limit", "0")),
            continue_token=query.get("continue", ""),
            revision=parse_revision(text),
            revision_match=match,
        )


def parse_revision(text: str) -> int | None:
    """Reads a resourceVersion; None where none is given. Raises ApiError (400)."""
    if not text:
        return None
    if not text.isdigit():
        fault = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: resourceVersion: {fault}")
    return int(text)


def _integer(text: str) -> int:
    try:
        return int(text or "0")
    except ValueError as error:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def too_large(revision: int, current: int) -> ApiError:
    """504: the resourceVersion asked for is yet to come."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {revision}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})


def list_objects(store: Store, resource: Resource, namespace: str, options: ListOptions) -> tuple[list[Object], Object]:
    """Returns the selected objects of one page, and the list's metadata. Raises ApiError."""
    revision, start = store.revision, ""
    if options.continue_token:
        if options.revision is not None:
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, start = _parse_token(options.continue_token)
        if revision < 0:
            revision = store.revision
    elif options.revision is not None:
        if options.revision > store.revision:
            raise too_large(options.revision, store.revision)
        if options.revision_match == "Exact":
            revision = options.revision
    items = _at(store, resource, namespace, revision, options)
    wide = not namespace and resource.namespaced
    found = [item for item in items if options.selects(item) and _page_key(item, wide=wide) >= start]
    metadata: Object = {"resourceVersion": str(revision)}
    if options.limit and len(found) > options.limit:
        last = _page_key(found[options.limit - 1], wide=wide)
        metadata["continue"] = _token(revision, f"/{last}\0")
        if not options.selected:
            metadata["remainingItemCount"] = len(found) - options.limit
        found = found[: options.limit]
    return found, metadata


def _at(store: Store, resource: Resource, namespace: str, revision: int, options: ListOptions) -> list[Object]:
    if revision == store.revision:
        return store.objects(resource, namespace)
    try:
        return store.objects_at(resource, namespace, revision)
    except ExpiredError as error:
        if options.continue_token:
            fresh = _token(-1, _parse_token(options.continue_token)[1])
            raise ExpiredError(_TOO_OLD, continue_token=fresh) from error
        raise ExpiredError("The resourceVersion for the provided list is too old.") from error


def _page_key(item: Object, *, wide: bool) -> str:
    return f"{namespace_of(item)}/{name_of(item)}" if wide else name_of(item)


def _token(revision: int, start: str) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse_token(token: str) -> tuple[int, str]:
    try:
        decoded = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        fields = json.loads(decoded)
        return int(fields["rv"]), str(fields["start"]).lstrip("/")
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error


def check_initial_events(query: Mapping[str, str]) -> bool:
    """Tells whether a watch asks for initial events. Raises ApiError (422) for a query that cannot."""
    if query.get("sendInitialEvents") not in ("true", "1"):
        return False
    if query.get("resourceVersionMatch") != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        cause: Cause = forbidden_field("resourceVersionMatch", why)
        raise invalid_options("ListOptions", cause)
    return True
