"""The function app's HTTP API, as a client sees it."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import urllib3

from deployer.cli.errors import CliError, Failed, NotFound, Unreachable, Waking
from deployer.cli.target import Target

Document = dict[str, Any]

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0
_SLOW_SECONDS = 120.0
_BUSY_SECONDS, _BUSY_PAUSE = 60.0, 1.0
_PLATFORM_SECONDS = 235.0  # Azure ends an HTTP request at 230 s


class Api:
    """One Slipway over HTTP. Every call has a time limit; every refusal is a ``CliError``."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pool = urllib3.PoolManager(retries=False)

    def models(self) -> list[Document]:
        """All models, each with name, state and version."""
        models: list[Document] = self._call("GET", "/api/models")["models"]
        return models

    def model(self, name: str) -> Document:
        """Everything about one model.

        Raises:
            NotFound: there is none of that name.
        """
        return self._call("GET", f"/api/models/{quote(name)}")

    def find_model(self, name: str) -> Document | None:
        """Everything about one model; None where there is none of that name."""
        try:
            return self.model(name)
        except NotFound:
            return None

    def retry(self, name: str) -> Document:
        """Has what was given up of a model taken up again; the model as it is then.

        Raises:
            NotFound: there is none of that name.
            Failed: nothing of it stands still.
        """
        return self._call("POST", f"/api/models/{quote(name)}/retry")

    def rollback(self, name: str, version: int | None) -> Document:
        """Has a version serve again, or with None the one before; the model as it is then.

        Raises:
            NotFound: there is no model of that name, or no such version.
            Failed: it cannot be gone back to.
        """
        body = b"" if version is None else json.dumps({"version": version}).encode()
        headers = {"Content-Type": "application/json"}
        return self._call("POST", f"/api/models/{quote(name)}/rollback", body=body, headers=headers)

    def remove(self, name: str, *, uploads: bool) -> Document:
        """Removes a model and all its versions, and with ``uploads`` what was dropped.

        Raises:
            NotFound: there is none of that name.
        """
        return self._call(
            "DELETE", f"/api/models/{quote(name)}{'?uploads=true' if uploads else ''}", read=_SLOW_SECONDS
        )

    def doctor(self, *, repair: bool) -> Document:
        """What the app finds wrong around it; with ``repair``, after making lost records anew."""
        if repair:
            return self._call("POST", "/api/doctor/repair", read=_PLATFORM_SECONDS)
        return self._call("GET", "/api/doctor", read=_SLOW_SECONDS)

    def classify(self, name: str, image: bytes, *, top: int | None, wait_seconds: float = 0) -> Document:
        """The classes of one image. ``wait_seconds``: how long the app may hold the request while the model wakes.

        Raises:
            Waking: the model sleeps; it is being woken.
        """
        headers = {"Content-Type": content_type(image)}
        if wait_seconds >= 1:
            headers["Prefer"] = f"wait={int(wait_seconds)}"
        query = "" if top is None else f"?top={top}"
        read = min(_READ_SECONDS + wait_seconds + 60, _PLATFORM_SECONDS)
        return self._call("POST", f"/api/classify/{quote(name)}{query}", body=image, headers=headers, read=read)

    def cluster(self) -> Document:
        """The cluster's state, its GPU pool and what the idle timer means to do."""
        return self._call("GET", "/api/cluster")

    def cluster_plan(self) -> Document:
        """What the idle ladder would do next, and what each rung saves and costs."""
        return self._call("GET", "/api/cluster/plan")

    def order(self, kind: str, minutes: int | None) -> Document:
        """Has the cluster woken, put to sleep or held as it is, or such an order taken back: wake, sleep, hold, release.

        While the idle timer or a wake is at the cluster, it is asked again for a minute.
        """
        query = "" if minutes is None else f"?minutes={minutes}"
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._call("POST", f"/api/cluster/{kind}{query}", read=_SLOW_SECONDS)
            except Failed as refused:
                if refused.code != "busy" or time.monotonic() > deadline:
                    raise
            time.sleep(_BUSY_PAUSE)

    def ledger(self, month: str | None) -> Document:
        """What ran in a month, and what it cost."""
        return self._call("GET", "/api/ledger" + ("" if month is None else f"?month={quote(month)}"))

    def keys(self, name: str) -> Document:
        """The names of a model's keys."""
        return self._call("GET", f"/api/keys/{quote(name)}")

    def add_key(self, name: str, key: str) -> Document:
        """Makes a key of a model; the answer is the only place where it stands."""
        return self._call("POST", f"/api/keys/{quote(name)}", body=json.dumps({"name": key}).encode())

    def remove_key(self, name: str, key: str) -> Document:
        """Removes a key of a model."""
        return self._call("DELETE", f"/api/keys/{quote(name)}/{quote(key, safe='')}")

    def _call(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None,
        read: float = _READ_SECONDS,
    ) -> Document:  # fmt: skip
        sent = dict(headers or {})
        if self._target.key:
            sent["x-functions-key"] = self._target.key
        try:
            response = self._pool.request(
                method, self._target.url + path, body=body if method == "POST" else None, headers=sent,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=read),
            )  # fmt: skip
        except urllib3.exceptions.ReadTimeoutError as error:
            raise Unreachable(
                "no_answer", f"{self._target.url} took the request and did not answer within {read:.0f} s.",
                "Look at the function app's log, then try again.",
            ) from error  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error
        document = _json(response.data)
        if response.status < 300 and document is not None:
            return document
        raise self._refusal(response.status, document, response.headers.get("Retry-After"))

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> Unreachable:
        if self._target.local is not None:
            return Unreachable(
                "stale_endpoints", f"The local cloud of '{self._target.local}' does not answer at {self._target.url}.",
                "It has ended without tidying up, or is starting. Start it with 'slipway up'.",
            )  # fmt: skip
        return Unreachable(
            "unreachable",
            f"{self._target.url} cannot be reached: {error}.",
            "Check --url, and that the app is started.",
        )

    def _refusal(self, status: int, document: Document | None, retry_after: str | None) -> CliError:
        if status == 401:
            why = "does not accept the key" if self._target.key else "asks for a key"
            return Unreachable(
                "unauthorized", f"{self._target.url} {why}.",
                "Give --key (or SLIPWAY_KEY): a function key of the app, 'az functionapp keys list' shows them.",
            )  # fmt: skip
        told = document.get("error") if document is not None else None
        if not isinstance(told, dict) or "message" not in told:
            return Failed(
                "unexpected_answer", f"{self._target.url} answered {status}, and not as Slipway does.",
                "Check that --url is the address of a Slipway function app.",
            )  # fmt: skip
        code, message, hint = str(told.get("code", status)), str(told["message"]), str(told.get("hint") or "")
        details = {name: value for name, value in told.items() if name not in {"code", "message", "hint"}}
        if status == 404:
            return NotFound(code, message, hint, **details)
        if status == 503 and code == "waking":
            return Waking(code, message, hint, retry_after=_seconds(retry_after), **details)
        return Failed(code, message, hint, **details)


def content_type(image: bytes) -> str:
    """The media type by an image's first bytes; ``application/octet-stream`` where they tell nothing."""
    for magic, kind in (
        (b"\x89PNG", "image/png"),
        (b"\xff\xd8", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"BM", "image/bmp"),
    ):
        if image.startswith(magic):
            return kind
    return "application/octet-stream"


def _json(data: bytes) -> Document | None:
    try:
        document = json.loads(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else 5.0
