"""When each model was last asked, noted in storage at most once per instance and window.

Each instance keeps one note, ``activity/INSTANCE.json``: how many seconds before it was written each model was last asked
there. So no clock but storage's counts, no instance reads what another wrote, and there are as many notes as instances, however
many models. A note may lag a request by one window, which the idle plan allows for: an instance that is lost takes no older
request with it. Where storage fails, the note is tried again each window while the instance lives.

Notes of instances that are silent are gathered into one, ``activity/earlier.json``, with the times themselves.
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from deployer.errors import Conflict, SlipwayError
from deployer.ports import BlobRef, Documents, StoredDocument
from deployer.telemetry import logger

log = logger(__name__)

_FOLDER = "activity/"
_EARLIER = "activity/earlier.json"
_SILENT = timedelta(hours=1)
_KEPT = timedelta(days=400)  # no model stays awake for longer than a year without a request
_AT_ONCE = 200  # notes gathered in one look
V = TypeVar("V")
_AGES = TypeAdapter(dict[str, float])
_TIMES = TypeAdapter(dict[str, datetime])


class ActivityNotes:
    """The note of this instance. For one event loop."""

    def __init__(self, documents: Documents, window_seconds: float, monotonic: Callable[[], float]) -> None:
        self._documents = documents
        self._window = window_seconds
        self._monotonic = monotonic
        self._path = f"{_FOLDER}{uuid.uuid4().hex[:12]}.json"
        self._asked: dict[str, float] = {}
        self._written: float | None = None
        self._unwritten: set[str] = set()
        self._pending: asyncio.Task[None] | None = None

    def note(self, model: str) -> None:
        """Notes a request: at once if nothing was noted in this window, else when it ends. Costs no storage call itself."""
        self._asked[model] = self._monotonic()
        self._unwritten.add(model)
        if self._pending is None:
            self._pending = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._unwritten:
                if self._written is not None:
                    await asyncio.sleep(max(0.0, self._written + self._window - self._monotonic()))
                now = self._written = self._monotonic()
                told, self._unwritten = self._unwritten, set()
                ages = {model: round(now - asked, 3) for model, asked in self._asked.items()}
                try:
                    await asyncio.to_thread(self._documents.put, self._path, json.dumps(ages).encode())
                except SlipwayError as error:
                    self._unwritten |= told
                    log.warning("activity of '%s' was not noted: %s", "', '".join(sorted(told)), error.message)
        finally:
            self._pending = None


def last_requests(documents: Documents) -> dict[str, datetime]:
    """When each model was last asked, by all instances' notes: one listing, and a read of each note."""
    return _newest(documents, documents.listing(_FOLDER))


def gather(documents: Documents, now: datetime) -> None:
    """Gathers the notes of instances that are silent, so that few remain to be read; where there are none, one listing."""
    notes = list(documents.listing(_FOLDER))
    silent = [note for note in notes if note.name != _EARLIER and now - note.modified > _SILENT][:_AT_ONCE]
    if not silent:
        return
    stored = documents.read(_EARLIER)
    latest = _merged(_gathered(stored), _newest(documents, silent))
    kept = {model: asked for model, asked in latest.items() if now - asked < _KEPT}
    with suppress(Conflict):  # another look gathers, too; what it did not, the next will
        documents.write(_EARLIER, _TIMES.dump_json(kept), etag=stored.etag if stored else None)
        for note in silent:
            documents.remove(note.name, etag=note.etag)


def _newest(documents: Documents, notes: Iterable[BlobRef]) -> dict[str, datetime]:
    latest: dict[str, datetime] = {}
    for note in notes:
        latest = _merged(latest, _told(documents, note))
    return latest


def _merged(one: Mapping[str, datetime], other: Mapping[str, datetime]) -> dict[str, datetime]:
    return {**one, **{model: max(asked, one.get(model, asked)) for model, asked in other.items()}}


def _told(documents: Documents, note: BlobRef) -> Mapping[str, datetime]:
    """What one note tells. Those of an earlier Slipway tell of one model by their name, ``activity/NAME/INSTANCE``."""
    model, slash, _ = note.name.removeprefix(_FOLDER).partition("/")
    if slash:
        return {model: note.modified}
    stored = documents.read(note.name)
    if note.name == _EARLIER:
        return _gathered(stored)
    ages = {} if stored is None else _read(note.name, stored.data, _AGES)  # none: gathered meanwhile
    return {model: note.modified - timedelta(seconds=age) for model, age in ages.items()}


def _gathered(stored: StoredDocument | None) -> Mapping[str, datetime]:
    return {} if stored is None else _read(_EARLIER, stored.data, _TIMES)


def _read(path: str, data: bytes, kind: TypeAdapter[dict[str, V]]) -> dict[str, V]:
    """The content of a note; of one that was spoiled nothing, for at worst a model falls asleep that its next request wakes."""
    try:
        return kind.validate_json(data)
    except ValidationError as error:
        log.warning("'%s' in the state container is no note of requests: %s", path, error)
        return {}
