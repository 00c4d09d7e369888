"""Predictions that callers do not wait for: ``Prefer: respond-async``.

    accept: body → status ("pending") → queue message          the caller gets the operation's address
    perform: look → predict → later? status, message again     performed by the queue function, on whatever instance
                            → result → status ("done", "failed")

Nothing of it is held in memory, so an operation outlives the instance that took it and the platform's limit of 230 s. Any step
may be cut short and be done twice: a prediction changes nothing, and of two that end it the first is kept. The documents,
in the state container, below ``operations/MODEL/ID``: ``.json`` (the status), ``.body`` (of the request, until it has ended),
``.result``. They go when nothing was written of them for ``SLIPWAY_OPERATIONS__KEEP_SECONDS``.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployer.errors import Conflict, NotFound, SlipwayError, TryLater
from deployer.names import is_model_name
from deployer.ports import Clock, Documents, OperationQueue
from deployer.settings import OperationSettings
from deployer.telemetry import logger

log = logger(__name__)

_ID = re.compile(r"(?P<model>[a-z0-9-]{1,40})\.[0-9a-f]{32}")
_ROOT = "operations/"
_SHORTEST, _LONGEST = 2, 15  # seconds between two looks at a model that wakes
_LOST = timedelta(minutes=3)  # an operation of which nothing was written for so long has lost its message
_FAILURES = 5  # answers that may heal by themselves but do not say when

Kind = Literal["classify", "predict"]


@dataclass(frozen=True)
class Asked:
    """A prediction as it was asked for. ``path``: what its route leaves open."""

    kind: Kind
    model: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answered:
    """What a prediction came to: ``retry_after`` where asking again makes sense, in seconds."""

    status: int
    body: bytes
    retry_after: int | None


Predict = Callable[[Asked], Awaitable[Answered]]


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    model: str
    kind: Kind
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    created: datetime
    state: Literal["pending", "running", "done", "failed"] = "pending"
    failures: int = 0
    status: int | None = None
    waiting: dict[str, Any] = Field(default_factory=dict)  # the estimate and the stage, while the model wakes

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed")


class Deferred:
    """The operations of all models."""

    def __init__(
        self, documents: Documents, queue: OperationQueue, predict: Predict, settings: OperationSettings, clock: Clock
    ) -> None:
        self._documents = documents
        self._queue = queue
        self._predict = predict
        self._settings = settings
        self._clock = clock

    async def accept(self, asked: Asked) -> dict[str, Any]:
        """Keeps the request and has it performed; returns the operation as ``look`` shows it.

        Raises:
            TryLater: ``too_many_operations``.
        """
        return await asyncio.to_thread(self._accept, asked)

    async def perform(self, operation: str) -> None:
        """Makes the prediction, or asks to be called again where the model is not awake yet. What the queue function calls."""
        found = await asyncio.to_thread(self._find, operation)
        if found is None or found[0].ended:
            return
        status, etag = found
        body = await asyncio.to_thread(self._documents.read, _path(operation, "body"))
        if body is None:  # its end was written by another meanwhile
            return
        answer = await self._predict(
            Asked(status.kind, status.model, status.path, status.params, status.headers, body.data)
        )
        await asyncio.to_thread(self._note, status, etag, answer)

    async def look(self, operation: str) -> dict[str, Any]:
        """Where an operation stands; once it has ended, with its result or error.

        Raises:
            NotFound: ``unknown_operation``.
        """
        return await asyncio.to_thread(self._look, operation)

    def sweep(self) -> None:
        """Removes what is older than it is kept, and asks for the operations whose message was lost."""
        now, keep = self._clock(), timedelta(seconds=self._settings.keep_seconds)
        written: dict[str, datetime] = {}
        unfinished: set[str] = set()
        for blob in list(self._documents.listing(_ROOT)):
            operation, _, kind = blob.name.removeprefix(_ROOT).replace("/", ".", 1).rpartition(".")
            written[operation] = max(blob.modified, written.get(operation, blob.modified))
            if kind == "body":
                unfinished.add(operation)
        for operation, when in written.items():
            if now - when > keep:
                for kind in ("json", "body", "result"):
                    self._documents.remove(_path(operation, kind))
            elif operation in unfinished and now - when > _LOST:
                log.info("sweep: a look at operation %s", operation)
                self._queue.ask(operation)

    def _accept(self, asked: Asked) -> dict[str, Any]:
        kept = sum(1 for _ in self._unfinished(asked.model))
        if kept >= self._settings.max_waiting:
            raise TryLater(
                "too_many_operations", f"{kept} operations of '{asked.model}' wait already.",
                "Ask again after Retry-After, or raise SLIPWAY_OPERATIONS__MAX_WAITING.", retry_after=_LONGEST,
                status=HTTPStatus.TOO_MANY_REQUESTS,
            )  # fmt: skip
        status = _Status(
            id=f"{asked.model}.{uuid.uuid4().hex}", model=asked.model, kind=asked.kind, path=asked.path,
            params=dict(asked.params), headers=dict(asked.headers), created=self._clock(),
        )  # fmt: skip
        self._documents.put(_path(status.id, "body"), asked.body)
        self._documents.write(_path(status.id, "json"), status.model_dump_json().encode(), etag=None)
        self._queue.ask(status.id)
        return self._shown(status)

    def _unfinished(self, model: str) -> Iterator[str]:
        for blob in self._documents.listing(f"{_ROOT}{model}/"):
            if blob.name.endswith(".body"):
                yield blob.name

    def _find(self, operation: str) -> tuple[_Status, str] | None:
        if _ID.fullmatch(operation) is None:
            return None
        stored = self._documents.read(_path(operation, "json"))
        if stored is None:
            return None
        try:
            return _Status.model_validate_json(stored.data), stored.etag
        except ValidationError as error:
            raise SlipwayError(
                "bad_state", f"The operation {operation} cannot be read: {error}.", "Ask for the prediction anew."
            ) from error

    def _note(self, before: _Status, etag: str, answer: Answered) -> None:
        """Writes what came of it; where another wrote meanwhile, that stands."""
        status = self._after(before, answer)
        if status.ended:
            self._documents.put(_path(status.id, "result"), answer.body)
        try:
            self._documents.write(_path(status.id, "json"), status.model_dump_json().encode(), etag=etag)
        except Conflict:
            log.info("operation %s was noted by another", status.id)
            return
        if status.ended:
            self._documents.remove(_path(status.id, "body"))
            return
        eta = answer.retry_after if answer.retry_after is not None else _LONGEST * 4
        self._queue.ask(status.id, delay_seconds=min(max(eta // 4, _SHORTEST), _LONGEST))

    def _after(self, before: _Status, answer: Answered) -> _Status:
        in_time = self._clock() - before.created < timedelta(seconds=self._settings.wait_seconds)
        failures = before.failures
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and answer.retry_after is None:
            failures += 1
        again = answer.retry_after is not None or before.failures < failures < _FAILURES
        if again and in_time:
            waiting = {name: value for name, value in _error(answer.body).items() if name in ("eta_seconds", "stage")}
            return before.model_copy(update={"state": "running", "failures": failures, "waiting": waiting})
        state = "done" if answer.status < 400 else "failed"
        return before.model_copy(update={"state": state, "status": answer.status, "waiting": {}})

    def _look(self, operation: str) -> dict[str, Any]:
        found = self._find(operation)
        if found is None:
            raise NotFound(
                "unknown_operation", f"There is no operation '{operation[:100]}'.",
                f"Operations are kept for {self._settings.keep_seconds:.0f} s after their end; ask for the prediction anew.",
            )  # fmt: skip
        status = found[0]
        if not status.ended:
            return self._shown(status)
        result = self._documents.read(_path(operation, "result"))
        return self._shown(status, result.data if result is not None else b"null")

    def _shown(self, status: _Status, result: bytes | None = None) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": status.id, "model": status.model, "state": status.state, "created": status.created.isoformat(),
            **status.waiting,
        }  # fmt: skip
        if result is None:
            return shown
        shown["status"] = status.status
        if status.state == "done":
            return shown | {"result": _embedded(result)}
        return shown | {"error": _error(result)}


def model_of(operation: str) -> str | None:
    """The model whose operation this is, by its name alone; None where it is no operation's."""
    found = _ID.fullmatch(operation)
    return found["model"] if found is not None and is_model_name(found["model"]) else None


def _path(operation: str, kind: str) -> str:
    model, _, number = operation.rpartition(".")
    return f"{_ROOT}{model}/{number}.{kind}"


def _embedded(body: bytes) -> Any:
    """JSON within JSON; TensorFlow Serving writes NaN and Infinity as they are, for which JSON has only null."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    else:
        return orjson.Fragment(body)
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _error(body: bytes) -> dict[str, Any]:
    """The error of an answer, in Slipway's shape; TensorFlow Serving's own is a text."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    match document:
        case {"slipway": dict(whole)} | {"error": dict(whole)}:
            return whole
        case {"error": message}:
            return {
                "code": "model_server_error",
                "message": str(message),
                "hint": "This is TensorFlow Serving's own message.",
            }
    return {"code": "model_server_error", "message": body[:200].decode(errors="replace"), "hint": "It is no JSON."}
