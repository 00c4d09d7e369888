"""Where the objects are: in memory for reading, in SQLite for keeping, with a history of changes for watches.

Every change gets the next resourceVersion and is committed before it is seen, so a SIGKILL at any instant loses nothing
that a client was told of. The history is kept in memory only: after a start, a watch from before it is told to list
again (410), as a real server does after compaction.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from localcloud.kubernetes.errors import ExpiredError
from localcloud.kubernetes.objects import Object, name_of, namespace_of
from localcloud.kubernetes.resources import Resource
from localcloud.kubernetes.wire import dump

_FIRST_REVISION = 100  # so that "1", which clients use for "too old", is too old from the start
_HISTORY = 4000

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""


@dataclass(frozen=True)
class Change:
    """One entry of the history."""

    revision: int
    resource: Resource
    kind: Literal["ADDED", "MODIFIED", "DELETED"]
    item: Object
    previous: Object | None


class Store:
    """All objects of one cluster. Not to be shared between threads; what it returns is never to be changed in place."""

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(data / "kubernetes.sqlite", isolation_level=None)
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "CREATE TABLE IF NOT EXISTS objects (resource TEXT, namespace TEXT, name TEXT, body TEXT,"
            " PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 0), value INTEGER);"
        )
        self._database.execute("INSERT OR IGNORE INTO revision VALUES (0, ?)", (_FIRST_REVISION,))
        self._objects: dict[str, dict[Key, Object]] = {}
        for resource, namespace, name, body in self._database.execute("SELECT * FROM objects"):
            self._objects.setdefault(resource, {})[namespace, name] = orjson.loads(body)
        self.revision: int = self._database.execute("SELECT value FROM revision").fetchone()[0]
        self._oldest = self.revision
        self._history: list[Change] = []
        self._listeners: list[Callable[[Change], None]] = []

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Returns an object, or None."""
        return self._objects.get(resource.key, {}).get((namespace, name))

    def objects(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Returns the objects of a namespace (empty: of all), ordered by namespace and name."""
        found = self._objects.get(resource.key, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def objects_at(self, resource: Resource, namespace: str, revision: int) -> list[Object]:
        """Returns the objects as they were at ``revision``.

        Raises ExpiredError where the history does not reach back so far.
        """
        state = dict(self._objects.get(resource.key, {}))
        for change in reversed(self.changes_since(resource, revision)):
            key = (namespace_of(change.item), name_of(change.item))
            if change.previous is None:
                state.pop(key, None)
            else:
                state[key] = change.previous
        return [state[key] for key in sorted(state) if not namespace or key[0] == namespace]

    def put(self, resource: Resource, item: Object) -> Object:
        """Stores ``item`` under its name with the next resourceVersion, and returns what was stored."""
        namespace, name = namespace_of(item), name_of(item)
        stored = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.revision + 1)}}
        previous = self.get(resource, namespace, name)
        self._commit(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (resource.key, namespace, name, dump(stored).decode())
        )
        self._objects.setdefault(resource.key, {})[namespace, name] = stored
        self._record(Change(self.revision, resource, "MODIFIED" if previous else "ADDED", stored, previous))
        return stored

    def remove(self, resource: Resource, item: Object) -> Object:
        """Removes ``item``, and returns it as its watchers last see it, with the resourceVersion of the removal."""
        namespace, name = namespace_of(item), name_of(item)
        last = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.revision + 1)}}
        self._commit(
            "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", (resource.key, namespace, name)
        )
        previous = self._objects[resource.key].pop((namespace, name))
        self._record(Change(self.revision, resource, "DELETED", last, previous))
        return last

    def _commit(self, statement: str, values: tuple[str, ...]) -> None:
        self._database.execute("BEGIN")
        try:
            self._database.execute(statement, values)
            self._database.execute("UPDATE revision SET value = ?", (self.revision + 1,))
        except sqlite3.Error:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        self.revision += 1

    def _record(self, change: Change) -> None:
        self._history.append(change)
        if len(self._history) > 2 * _HISTORY:
            self._oldest = self._history[-_HISTORY - 1].revision
            del self._history[:-_HISTORY]
        for listener in tuple(self._listeners):
            listener(change)

    def changes_since(self, resource: Resource, revision: int) -> list[Change]:
        """Returns the changes of a resource after ``revision``.

        Raises ExpiredError where the history does not reach back so far.
        """
        if revision < self._oldest:
            raise ExpiredError(f"too old resource version: {revision} ({self._oldest})")
        start = bisect_right(self._history, revision, key=lambda change: change.revision)
        return [change for change in self._history[start:] if change.resource is resource]

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Calls ``listener`` after every change, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
