"""What Event Grid posts to ``/runtime/webhooks/blobs`` on Azure: the validation handshake and notifications."""

import json
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from localcloud.functions_host.blob_trigger import BlobMessage


def validation_code(body: bytes) -> str:
    """The code that a ``SubscriptionValidation`` event wants back.

    Raises:
        ValueError: the body is not such an event (Event Grid schema, or a CloudEvent with its data in JSON text).
    """
    content = _json(body)
    event = content[0] if isinstance(content, list) and content else content
    if not isinstance(event, Mapping):
        raise ValueError("expected an event, or a list of events")
    data = event.get("data")
    if isinstance(data, str):
        data = json.loads(data)
    if not isinstance(data, Mapping) or not isinstance(data.get("validationCode"), str):
        raise ValueError("the event has no data.validationCode")
    return str(data["validationCode"])


def messages(body: bytes, function_id: str) -> list[BlobMessage]:
    """One message per event, for the host's own queue.

    Raises:
        ValueError: the body is not one or more Microsoft.Storage.BlobCreated events.
    """
    content = _json(body)
    events = content if isinstance(content, list) else [content]
    return [_message(event, function_id) for event in events]


def _message(event: object, function_id: str) -> BlobMessage:
    data = event.get("data") if isinstance(event, Mapping) else None
    if not isinstance(data, Mapping) or not all(isinstance(data.get(key), str) for key in ("url", "eTag", "blobType")):
        raise ValueError("an event needs data.url, data.eTag and data.blobType")
    container, blob = _container_and_blob(str(data["url"]))
    return BlobMessage(function_id, str(data["blobType"]), container, blob, f'"{str(data["eTag"]).strip(chr(34))}"')


def _container_and_blob(url: str) -> tuple[str, str]:
    """``https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB``, or ``http://127.0.0.1:PORT/ACCOUNT/CONTAINER/BLOB``."""
    parts = urlsplit(url)
    path = unquote(parts.path).lstrip("/")
    if (parts.hostname or "").replace(".", "").isdecimal() or parts.hostname == "localhost":
        path = path.partition("/")[2]
    container, _, blob = path.partition("/")
    if not container or not blob:
        raise ValueError(f"data.url names no blob: {url!r}")
    return container, blob


def _json(body: bytes) -> object:
    content: object = json.loads(body)
    return content
