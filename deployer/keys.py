"""Keys of single models: each opens one model's predictions, and nothing else.

``keys/NAME.json`` in the state container has, for each key, its name, when it was made, and a SHA-256 over a salt of its own
and the key; the key itself is shown once and kept nowhere. A key is 256 random bits, so that no slow hash is needed. Which model
it opens, its caller says by the path: ``deployer.http_keyed`` asks ``check`` before anything else is looked at.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deployer.errors import BadRequest, Conflict, NotFound, SlipwayError, Unauthorized
from deployer.names import is_model_name
from deployer.ports import Clock, Documents
from deployer.state import State

MAX_KEYS = 100  # of one model: each is compared with what a caller sends
_ATTEMPTS = 20
_KNOWN = 1000  # models whose keys are held; strangers may ask for any name
_PREFIX = "slw-"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?")
_SENT = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}")
_HINT = "Send a key of this model as the header x-slipway-key; 'slipway key add MODEL NAME' makes one."


class _Key(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    created: datetime
    salt: str
    digest: str

    def fits(self, key: str) -> bool:
        return hmac.compare_digest(_digest(bytes.fromhex(self.salt), key), self.digest)

    def shown(self) -> dict[str, Any]:
        return {"name": self.name, "created": self.created.isoformat()}


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[_Key, ...] = ()


class ModelKeys:
    """The keys of all models."""

    def __init__(
        self, state: State, documents: Documents, clock: Clock, cache_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._state = state
        self._documents = documents
        self._clock = clock
        self._cache_seconds = cache_seconds
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, _Keys]] = {}

    def listed(self, model: str) -> dict[str, Any]:
        """The names of a model's keys.

        Raises:
            NotFound: ``unknown_model``.
        """
        self._must_exist(model)
        return {"model": model, "keys": [key.shown() for key in self._read(model)[0].keys]}

    def add(self, model: str, name: str) -> dict[str, Any]:
        """Makes a key; the answer is the only place where it stands.

        Raises:
            NotFound: ``unknown_model``.
            BadRequest: ``bad_key_name``; ``key_exists`` (409); ``too_many_keys`` (409).
        """
        self._must_exist(model)
        if not _NAME.fullmatch(name):
            raise BadRequest(
                "bad_key_name", f"'{name[:60]}' is no name of a key.",
                "Use at most 40 letters a-z, digits, and '.', '_' or '-' between them: who will use it, say.",
            )  # fmt: skip
        key, salt = _PREFIX + secrets.token_urlsafe(32), secrets.token_bytes(16)
        made = _Key(name=name, created=self._clock(), salt=salt.hex(), digest=_digest(salt, key))

        def added(before: _Keys) -> _Keys:
            if any(other.name == name for other in before.keys):
                raise BadRequest(
                    "key_exists", f"'{model}' has a key named '{name}'.", "Remove it first, or take another name.",
                    status=Conflict.status,
                )  # fmt: skip
            if len(before.keys) >= MAX_KEYS:
                raise BadRequest(
                    "too_many_keys", f"'{model}' has {MAX_KEYS} keys.", "Remove one first.", status=Conflict.status
                )
            return _Keys(keys=(*before.keys, made))

        self._change(model, added)
        return {"model": model, **made.shown(), "key": key}

    def remove(self, model: str, name: str) -> dict[str, Any]:
        """Removes a key; it opens nothing any more after the seconds that keys are held in memory.

        Raises:
            NotFound: ``unknown_model`` or ``unknown_key``.
        """
        self._must_exist(model)

        def removed(before: _Keys) -> _Keys:
            left = tuple(key for key in before.keys if key.name != name)
            if len(left) == len(before.keys):
                raise NotFound(
                    "unknown_key", f"'{model}' has no key named '{name[:60]}'.", f"GET /api/keys/{model} lists them."
                )
            return _Keys(keys=left)

        return {"model": model, "keys": [key.shown() for key in self._change(model, removed).keys]}

    async def check(self, model: str | None, key: str | None) -> None:
        """Lets a caller pass who has a key of this model. Says nothing of whether there is such a model.

        Raises:
            Unauthorized: ``no_key`` or ``wrong_key``.
        """
        if not key:
            raise Unauthorized("no_key", "A key of the model is needed.", _HINT)
        if model is not None and is_model_name(model) and _SENT.fullmatch(key):
            found = [known.fits(key) for known in (await self._held(model)).keys]  # all of them: no early end
            if any(found):
                return
        raise Unauthorized("wrong_key", "The key given is not one of this model's.", _HINT)

    async def _held(self, model: str) -> _Keys:
        now, known = self._monotonic(), self._known.get(model)
        if known is not None and now - known[0] < self._cache_seconds:
            return known[1]
        keys, _ = await asyncio.to_thread(self._read, model)
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[model] = (now, keys)
        return keys

    def _must_exist(self, model: str) -> None:
        if not is_model_name(model):
            raise NotFound("unknown_model", f"'{model[:60]}' is no name of a model.", "GET /api/models lists them.")
        self._state.model(model)

    def _read(self, model: str) -> tuple[_Keys, str | None]:
        stored = self._documents.read(_path(model))
        if stored is None:
            return _Keys(), None
        try:
            return _Keys.model_validate_json(stored.data), stored.etag
        except ValidationError as error:
            raise SlipwayError(
                "bad_state", f"'{_path(model)}' in the state container cannot be read: {error}.",
                "It was changed by hand; restore it from the blob's earlier version.",
            ) from error  # fmt: skip

    def _change(self, model: str, change: Callable[[_Keys], _Keys]) -> _Keys:
        for _ in range(_ATTEMPTS):
            before, etag = self._read(model)
            after = change(before)
            try:
                self._documents.write(_path(model), after.model_dump_json(indent=1).encode(), etag=etag)
            except Conflict:
                continue
            return after
        raise Conflict("busy", f"The keys of '{model}' were written by others many times in a row.", "Try again.")


def _digest(salt: bytes, key: str) -> str:
    return hashlib.sha256(salt + key.encode()).hexdigest()


def _path(model: str) -> str:
    return f"keys/{model}.json"
