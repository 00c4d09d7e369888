"""Watches: a stream of changes, one JSON object a line."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from localcloud.kubernetes.errors import ApiError, ExpiredError
from localcloud.kubernetes.listing import ListOptions, check_initial_events
from localcloud.kubernetes.objects import Object, namespace_of
from localcloud.kubernetes.resources import Resource
from localcloud.kubernetes.store import Change, Store

_DEFAULT_SECONDS = 1800
_BOOKMARK_SECONDS = 60.0
_LAST_BOOKMARK_SECONDS = 2.0  # before the end


@dataclass(frozen=True)
class Event:
    """One line of a watch."""

    kind: str
    item: Object


@dataclass(frozen=True)
class WatchOptions:
    """The query of a watch."""

    listing: ListOptions
    seconds: float
    bookmarks: bool
    initial_events: bool

    @classmethod
    def read(cls, resource: Resource, query: Mapping[str, str], name: str = "") -> "WatchOptions":
        """Reads the query. Raises ApiError."""
        initial = check_initial_events(query)
        text = query.get("resourceVersion", "")
        if text and not text.isdigit():
            fault = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
            raise ApiError(500, None, f"resourceVersion: {fault}")
        seconds = query.get("timeoutSeconds", "")
        return cls(
            listing=ListOptions.read(resource, query, name),
            seconds=float(seconds) if seconds.isdigit() and int(seconds) else _DEFAULT_SECONDS,
            bookmarks=query.get("allowWatchBookmarks") in ("true", "1"),
            initial_events=initial,
        )


async def watch(store: Store, resource: Resource, namespace: str, options: WatchOptions) -> AsyncIterator[Event]:
    """Yields the events of a watch until its time is over."""
    changes: asyncio.Queue[Change] = asyncio.Queue()

    def listen(change: Change) -> None:
        if change.resource is resource:
            changes.put_nowait(change)

    unsubscribe = store.subscribe(listen)
    try:
        try:
            backlog = _backlog(store, resource, namespace, options)
        except ExpiredError as error:
            yield Event("ERROR", error.status())
            return
        for event in backlog:
            yield event
        async for event in _follow(store, resource, namespace, options, changes):
            yield event
    finally:
        unsubscribe()


def _backlog(store: Store, resource: Resource, namespace: str, options: WatchOptions) -> list[Event]:
    revision = options.listing.revision
    if options.initial_events or revision in (None, 0):
        found = [Event("ADDED", item) for item in store.objects(resource, namespace) if options.listing.selects(item)]
        if options.initial_events and options.bookmarks:
            found.append(_bookmark(resource, store.revision, ended=True))
        return found
    events = (_seen(change, namespace, options.listing) for change in store.changes_since(resource, revision or 0))
    return [event for event in events if event is not None]


async def _follow(
    store: Store, resource: Resource, namespace: str, options: WatchOptions, changes: asyncio.Queue[Change]
) -> AsyncIterator[Event]:
    end = time.monotonic() + options.seconds
    known = options.listing.revision or 0
    while True:
        now = time.monotonic()
        if now >= end:
            return
        last = end - _LAST_BOOKMARK_SECONDS
        pause = min(_BOOKMARK_SECONDS, last - now if last > now else end - now)
        try:
            change = await asyncio.wait_for(changes.get(), pause)
        except TimeoutError:
            if options.bookmarks and known <= store.revision:
                yield _bookmark(resource, store.revision, ended=False)
            continue
        event = _seen(change, namespace, options.listing) if change.revision > known else None
        if event is not None:
            yield event


def _seen(change: Change, namespace: str, options: ListOptions) -> Event | None:
    """How a watch with a selector sees a change: leaving the selection is a deletion, entering it an addition."""
    if namespace and namespace_of(change.item) != namespace:
        return None
    was = change.previous is not None and options.selects(change.previous)
    now = change.kind != "DELETED" and options.selects(change.item)
    if now:
        return Event("MODIFIED" if was else "ADDED", change.item)
    if not was:
        return None
    if change.kind == "DELETED":
        return Event("DELETED", change.item)
    revision = {"resourceVersion": change.item["metadata"]["resourceVersion"]}
    previous = change.previous or {}
    return Event("DELETED", {**previous, "metadata": {**previous["metadata"], **revision}})


def _bookmark(resource: Resource, revision: int, *, ended: bool) -> Event:
    metadata: Object = {"resourceVersion": str(revision)}
    if ended:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return Event("BOOKMARK", {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata})
